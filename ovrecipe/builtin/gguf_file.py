"""Reading a GGUF file: its tensors, and config.json and generation_config.json of its metadata."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAGIC = b"GGUF"
OTHER_SOURCE = "give the model's hub id or a local checkpoint directory instead"


@dataclass(frozen=True)
class Architecture:
    """How a GGUF architecture is called and laid out in transformers.

    `permuted` says that llama.cpp interleaved the rows of the query and key projections.
    """

    model_type: str
    class_name: str
    permuted: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", permuted=True),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", extra={"use_sliding_window": False}),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", extra={"use_sliding_window": False}),
}
#: Facts that the supported architectures share: transformers' name, then GGUF's.
SHARED_FACTS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor as it lies in the file; `shape` is row-major, as in a checkpoint."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    raw: Any


class GgufFile:
    """A GGUF file that is there and is whole."""

    def __init__(self, path: Path) -> None:
        """Read the header; tensors stay on disk until they are asked for."""
        check_magic(path)
        self.path = path
        self._reader = _reader(path)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, or the default when the file does not say."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def require(self, key: str) -> Any:
        """Return a metadata value that a language model cannot do without."""
        value = self.get(key)
        if value is None:
            raise CheckpointIncomplete(f"{self.path.name}: the GGUF metadata has no '{key}'")
        return value

    def fact(self, key: str, default: Any = None) -> Any:
        """Return a value of the architecture's own section, `llama.context_length` for one."""
        return self.get(f"{self.architecture}.{key}", default)

    @cached_property
    def architecture(self) -> str:
        """The name that llama.cpp gives the architecture."""
        return str(self.require("general.architecture"))

    @cached_property
    def tokens(self) -> list[str]:
        """The texts of all tokens, by id."""
        return list(self.require("tokenizer.ggml.tokens"))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The ids of all tokens, by text."""
        return {text: number for number, text in enumerate(self.tokens)}

    @cached_property
    def tensors(self) -> Sequence[GgufTensor]:
        """The tensors in the file's order."""
        return [
            GgufTensor(
                raw.name,
                tuple(int(size) for size in reversed(raw.shape)),
                str(raw.tensor_type.name),
                raw,
            )
            for raw in self._reader.tensors
        ]

    def has_tensor(self, name: str) -> bool:
        """Return whether the file has a tensor of that name."""
        return any(tensor.name == name for tensor in self.tensors)

    def dequantized(self, tensor: GgufTensor) -> Any:
        """Return the tensor's values as a float32 array."""
        from gguf import dequantize

        try:
            values = dequantize(tensor.raw.data, tensor.raw.tensor_type)
        except NotImplementedError as exc:
            raise CheckpointIncomplete(
                f"{self.path.name}: tensor {tensor.name} has type {tensor.type_name}, "
                "which the gguf package cannot dequantize",
                remedy="use a GGUF file of another quantization, or the model's hub id",
            ) from exc
        return values.reshape(tensor.shape)


def check_magic(path: Path) -> None:
    """Refuse what is no GGUF file.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointIncomplete: the file is something else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except (FileNotFoundError, IsADirectoryError) as exc:
        raise CheckpointNotFound(f"{path}: there is no such GGUF file") from exc
    if magic != MAGIC:
        raise CheckpointIncomplete(f"{path}: is not a GGUF file (it does not start with GGUF)")


def _reader(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError) as exc:
        # The package reads past the end of a truncated file and reports that in many ways.
        raise CheckpointIncomplete(
            f"{path}: the GGUF file is truncated or damaged: {exc}",
            remedy="download it again and compare its size",
        ) from exc


def architecture_of(file: GgufFile) -> Architecture:
    """Return what is known about the file's architecture.

    Raises:
        CheckpointIncomplete: it is not one that can be read here; guessing gives wrong weights.
    """
    found = ARCHITECTURES.get(file.architecture)
    if found is None or file.fact("expert_count"):
        kind = file.architecture if found is None else f"{file.architecture} with experts"
        raise CheckpointIncomplete(
            f"{file.path.name}: GGUF architecture '{kind}' is not one of "
            f"{', '.join(ARCHITECTURES)}",
            remedy=OTHER_SOURCE,
        )
    return found


def config_of(file: GgufFile, *, dtype: str) -> dict[str, Any]:
    """Return the content of config.json; `dtype` is that of the written weights."""
    architecture = architecture_of(file)
    kind = file.fact("rope.scaling.type")
    if kind not in (None, "none") or file.has_tensor("rope_freqs.weight"):
        # Each model stretches its positions in its own way.
        raise CheckpointIncomplete(
            f"{file.path.name}: its rotary positions are scaled ({kind or 'rope_freqs.weight'}), "
            "which cannot be read from a GGUF file exactly",
            remedy=OTHER_SOURCE,
        )
    return {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "dtype": dtype,
        "vocab_size": len(file.tokens),
        "hidden_act": "silu",
        "tie_word_embeddings": not file.has_tensor("output.weight"),
        **_shared(file),
        **_biases(file, architecture),
        **_token_ids(file),
        **architecture.extra,
    }


def generation_config_of(file: GgufFile) -> dict[str, Any]:
    """Return the content of generation_config.json: only which tokens begin and end a text."""
    facts = _token_ids(file)
    end_of_turn = file.get("tokenizer.ggml.eot_token_id")
    if end_of_turn is not None and end_of_turn != facts["eos_token_id"]:
        facts["eos_token_id"] = [facts["eos_token_id"], int(end_of_turn)]
    return facts


def _shared(file: GgufFile) -> dict[str, Any]:
    facts = {ours: file.fact(theirs) for ours, theirs in SHARED_FACTS.items()}
    facts["num_key_value_heads"] = facts["num_key_value_heads"] or facts["num_attention_heads"]
    facts["rope_theta"] = facts["rope_theta"] or 10000.0
    missing = [name for name, value in facts.items() if value is None]
    if missing:
        keys = ", ".join(f"{file.architecture}.{SHARED_FACTS[name]}" for name in missing)
        raise CheckpointIncomplete(f"{file.path.name}: the GGUF metadata has no {keys}")
    # The short decimal behind a float32: 1e-05, not 9.999999747378752e-06.
    facts["rms_norm_eps"] = float(f"{facts['rms_norm_eps']:.6g}")
    said = file.fact("attention.key_length") or file.fact("rope.dimension_count")
    facts["head_dim"] = int(said or facts["hidden_size"] // facts["num_attention_heads"])
    return facts


def _biases(file: GgufFile, architecture: Architecture) -> dict[str, bool]:
    if architecture.model_type == "qwen2":
        return {}  # Qwen2 always has biases on q, k and v; its configuration has no word for it
    biases = {"attention_bias": file.has_tensor("blk.0.attn_q.bias")}
    if architecture.permuted:
        biases["mlp_bias"] = file.has_tensor("blk.0.ffn_up.bias")
    return biases


def _token_ids(file: GgufFile) -> dict[str, Any]:
    ids = {
        "bos_token_id": file.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": file.require("tokenizer.ggml.eos_token_id"),
        "pad_token_id": file.get("tokenizer.ggml.padding_token_id"),
    }
    return {name: int(value) for name, value in ids.items() if value is not None}
