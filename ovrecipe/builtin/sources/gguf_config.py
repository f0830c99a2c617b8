"""From GGUF metadata to config.json and generation_config.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ovrecipe.builtin.sources.gguf_file import GgufFile, tensor_names
from ovrecipe.errors import CheckpointIncomplete

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


def architecture_of(file: GgufFile) -> Architecture:
    """Return what is known about the file's architecture.

    Raises:
        CheckpointIncomplete: it is not one that can be read here; guessing gives wrong weights.
    """
    found = ARCHITECTURES.get(file.architecture)
    if found is None or file.fact("expert_count"):
        kind = file.architecture if found is None else f"{file.architecture} with experts"
        raise CheckpointIncomplete(
            f"{file.path.name}: GGUF architecture '{kind}' is not one of {_known()}",
            remedy="give the model's hub id or a local checkpoint directory instead",
        )
    return found


def _known() -> str:
    return ", ".join(ARCHITECTURES)


def config_of(file: GgufFile, *, dtype: str) -> dict[str, Any]:
    """Return the content of config.json; `dtype` is that of the written weights."""
    architecture = architecture_of(file)
    _refuse_unknown_rope(file)
    return {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "dtype": dtype,
        "vocab_size": len(file.tokens),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in tensor_names(file),
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
    facts["rms_norm_eps"] = _as_written(facts["rms_norm_eps"])
    facts["head_dim"] = _head_dim(file, facts)
    return facts


def _as_written(value: float) -> float:
    """Return the short decimal behind a float32: 1e-05, not 9.999999747378752e-06."""
    return float(f"{value:.6g}")


def _head_dim(file: GgufFile, facts: dict[str, Any]) -> int:
    said = file.fact("attention.key_length") or file.fact("rope.dimension_count")
    return int(said or facts["hidden_size"] // facts["num_attention_heads"])


def _biases(file: GgufFile, architecture: Architecture) -> dict[str, bool]:
    if architecture.model_type == "qwen2":
        return {}  # Qwen2 always has biases on q, k and v; its configuration has no word for it
    names = set(tensor_names(file))
    return {
        "attention_bias": "blk.0.attn_q.bias" in names,
        **({"mlp_bias": "blk.0.ffn_up.bias" in names} if architecture.permuted else {}),
    }


def _token_ids(file: GgufFile) -> dict[str, Any]:
    ids = {
        "bos_token_id": file.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": int(file.require("tokenizer.ggml.eos_token_id")),
        "pad_token_id": file.get("tokenizer.ggml.padding_token_id"),
    }
    return {name: int(value) for name, value in ids.items() if value is not None}


def _refuse_unknown_rope(file: GgufFile) -> None:
    """Refuse stretched positions, which each model stretches in its own way."""
    kind = file.fact("rope.scaling.type")
    stretched = kind not in (None, "none") or "rope_freqs.weight" in tensor_names(file)
    if stretched:
        raise CheckpointIncomplete(
            f"{file.path.name}: its rotary positions are scaled ({kind or 'rope_freqs.weight'}), "
            "which cannot be read from a GGUF file exactly",
            remedy="give the model's hub id or a local checkpoint directory instead",
        )
