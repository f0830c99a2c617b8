"""Reading a GGUF file: its tensors, and config.json and generation_config.json of its metadata."""

from functools import cached_property
from pathlib import Path
from typing import Any

from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound

MAGIC = b"GGUF"
OTHER_SOURCE = "give the model's hub id or a local checkpoint directory instead"
#: The architectures that can be read, by the name that both llama.cpp and transformers give them,
#: with transformers' class.
CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
#: Facts that they share: transformers' name, then GGUF's.
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
#: Special tokens: transformers' name, then GGUF's.
SPECIAL_TOKENS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


class GgufFile:
    """A GGUF file that is there and is whole.

    `tensors` are the gguf package's own by name, in the file's order; they stay on disk until
    they are asked for, and their `shape` has the innermost dimension first.

    Raises:
        CheckpointIncomplete: it is no GGUF file, cut off or damaged.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        check_magic(path)
        self.path = path
        try:
            reader = GGUFReader(path)
        except (ValueError, IndexError, KeyError) as exc:
            # The package reads past the end of a truncated file and reports that in many ways.
            message = f"{path}: the GGUF file is truncated or damaged: {exc}"
            remedy = "download it again and compare its size"
            raise CheckpointIncomplete(message, remedy=remedy) from exc
        self._fields = reader.fields
        self.tensors: dict[str, Any] = {tensor.name: tensor for tensor in reader.tensors}

    def refusal(self, reason: str, *, remedy: str = OTHER_SOURCE) -> CheckpointIncomplete:
        """Return the error that says why this file cannot be converted."""
        return CheckpointIncomplete(f"{self.path.name}: {reason}", remedy=remedy)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, or the default when the file does not say."""
        field = self._fields.get(key)
        return default if field is None else field.contents()

    def needed(self, key: str) -> Any:
        """Return a metadata value that a language model cannot do without.

        Raises:
            CheckpointIncomplete: the file does not say.
        """
        value = self.get(key)
        if value is None:
            raise self.refusal(f"the GGUF metadata has no '{key}'")
        return value

    def fact(self, key: str, default: Any = None) -> Any:
        """Return a value of the architecture's own section, `llama.context_length` for one."""
        return self.get(f"{self.architecture}.{key}", default)

    @cached_property
    def architecture(self) -> str:
        """The name that llama.cpp gives the architecture."""
        return str(self.needed("general.architecture"))

    @cached_property
    def tokens(self) -> list[str]:
        """The texts of all tokens, by id."""
        return list(self.needed("tokenizer.ggml.tokens"))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The ids of all tokens, by text."""
        return {text: number for number, text in enumerate(self.tokens)}

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The ids of the special tokens that the file names, by transformers' name."""
        keys = {
            name: f"tokenizer.ggml.{theirs}_token_id" for name, theirs in SPECIAL_TOKENS.items()
        }
        return {name: int(self.get(key)) for name, key in keys.items() if self.get(key) is not None}

    def dequantized(self, tensor: Any) -> Any:
        """Return a tensor's values as a float32 array, row-major as in a checkpoint.

        Raises:
            CheckpointIncomplete: the gguf package cannot do it.
        """
        from gguf import dequantize

        try:
            return dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as exc:
            kind = tensor.tensor_type.name
            reason = f"tensor {tensor.name} is {kind}, which the gguf package cannot dequantize"
            remedy = "use a GGUF file of another quantization, or the model's hub id"
            raise self.refusal(reason, remedy=remedy) from exc


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
        remedy = "give the path of a .gguf file; in a recipe it starts from the recipe's own folder"
        raise CheckpointNotFound(f"{path}: there is no such GGUF file", remedy=remedy) from exc
    if magic != MAGIC:
        raise CheckpointIncomplete(f"{path}: is not a GGUF file (it does not start with GGUF)")


def config_of(file: GgufFile, *, dtype: str) -> dict[str, Any]:
    """Return the content of config.json; `dtype` is that of the written weights.

    Raises:
        CheckpointIncomplete: the architecture is unknown here; guessing gives wrong weights.
    """
    name = file.architecture
    if name not in CLASSES or file.fact("expert_count"):
        kind = f"{name} with experts" if name in CLASSES else name
        raise file.refusal(f"GGUF architecture '{kind}' is not one of {', '.join(CLASSES)}")
    scaling = file.fact("rope.scaling.type")
    if scaling not in (None, "none") or "rope_freqs.weight" in file.tensors:
        # Each model stretches its positions in its own way.
        raise file.refusal(
            f"its rotary positions are scaled ({scaling or 'rope_freqs.weight'}), which cannot be "
            "read from a GGUF file exactly"
        )
    config = {
        "architectures": [CLASSES[name]],
        "model_type": name,
        "dtype": dtype,
        "vocab_size": len(file.tokens),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in file.tensors,
        **_shared(file),
    }
    if name != "qwen2":  # which always has biases on q, k and v, and no word for it
        config["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    if name == "llama":
        return {**config, "mlp_bias": "blk.0.ffn_up.bias" in file.tensors, **_token_ids(file)}
    return {**config, **_token_ids(file), "use_sliding_window": False}


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
    missing = [SHARED_FACTS[name] for name, value in facts.items() if value is None]
    if missing:
        keys = ", ".join(f"{file.architecture}.{key}" for key in missing)
        raise file.refusal(f"the GGUF metadata has no {keys}")
    # The short decimal behind a float32: 1e-05, not 9.999999747378752e-06.
    facts["rms_norm_eps"] = float(f"{facts['rms_norm_eps']:.6g}")
    said = file.fact("attention.key_length") or file.fact("rope.dimension_count")
    facts["head_dim"] = int(said or facts["hidden_size"] // facts["num_attention_heads"])
    return facts


def _token_ids(file: GgufFile) -> dict[str, Any]:
    file.needed("tokenizer.ggml.eos_token_id")
    return {f"{name}_token_id": id_ for name, id_ in file.special_ids.items() if name != "unk"}
