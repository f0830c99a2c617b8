"""Tiny random models of many architectures, written as GGUF files as llama.cpp's converter does.

What is turned on the way there is written down here by hand, and nothing of ovrecipe is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.gguf_writing import add_metadata, add_tensor

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
#: What a converter writes for most architectures: GGUF's name and transformers'.
FACTS = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "context_length": "max_position_embeddings",
}
RMS, LAYER = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
#: No fact is what transformers takes without it, so that a lost one shows.
#: architecture: (model type, settings, what its own metadata says)
MODELS: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "llama": (
        "llama",
        {"rms_norm_eps": 0.003, "rope_theta": 50_000.0},
        {RMS: 0.003, "rope.freq_base": 50_000.0, "rope.dimension_count": 16, "vocab_size": ...},
    ),
    "qwen2": (
        "qwen2",
        {"rms_norm_eps": 0.003, "rope_theta": 1_000_000.0},
        {RMS: 0.003, "rope.freq_base": 1_000_000.0},
    ),
    "qwen2moe": (
        "qwen2_moe",
        {
            "rms_norm_eps": 0.003, "rope_theta": 1_000_000.0, "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 48,
            "shared_expert_intermediate_size": 80,
        },
        {
            RMS: 0.003, "rope.freq_base": 1_000_000.0, "expert_count": 4, "expert_used_count": 2,
            "expert_feed_forward_length": 48, "expert_shared_feed_forward_length": 80,
        },
    ),
    "qwen3": (
        "qwen3",
        {"rms_norm_eps": 0.003, "rope_theta": 1_000_000.0, "head_dim": 32},
        {
            RMS: 0.003, "rope.freq_base": 1_000_000.0, "attention.key_length": 32,
            "attention.value_length": 32,
        },
    ),
    "qwen3moe": (
        "qwen3_moe",
        {
            "rms_norm_eps": 0.003, "rope_theta": 1_000_000.0, "head_dim": 32, "num_experts": 4,
            "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": True,
        },
        {
            RMS: 0.003, "rope.freq_base": 1_000_000.0, "attention.key_length": 32,
            "attention.value_length": 32, "expert_count": 4, "expert_used_count": 2,
            "expert_feed_forward_length": 48,
        },
    ),
    "gemma2": (
        "gemma2",
        {
            "rms_norm_eps": 0.003, "head_dim": 32, "query_pre_attn_scalar": 32,
            "sliding_window": 16, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        },
        {
            RMS: 0.003, "attention.key_length": 32, "attention.value_length": 32,
            "attention.sliding_window": 16, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "rms_norm_eps": 0.003, "head_dim": 32, "query_pre_attn_scalar": 32,
            "sliding_window": 16, "num_hidden_layers": 7, "rope_theta": 1_000_000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        {
            RMS: 0.003, "attention.key_length": 32, "attention.value_length": 32,
            "attention.sliding_window": 16, "rope.freq_base": 1_000_000.0,
            "rope.scaling.type": "linear", "rope.scaling.factor": 8.0,
        },
    ),
    "phi3": (
        "phi3",
        {"rms_norm_eps": 0.003, "sliding_window": 40, "pad_token_id": None},
        {
            RMS: 0.003, "rope.freq_base": 10_000.0, "rope.dimension_count": 16,
            "attention.sliding_window": 40, "rope.scaling.original_context_length": 512,
        },
    ),
    "gpt2": (
        "gpt2",
        {"layer_norm_epsilon": 0.003, "tie_word_embeddings": True, "n_inner": 96},
        {LAYER: 0.003, "attention.head_count_kv": None},
    ),
    "starcoder2": (
        "starcoder2",
        {"norm_epsilon": 0.003, "rope_theta": 100_000.0},
        {LAYER: 0.003, "rope.freq_base": 100_000.0},
    ),
    "stablelm": (
        "stablelm",
        {
            "layer_norm_eps": 0.003, "partial_rotary_factor": 0.5, "use_qkv_bias": True,
            "use_parallel_residual": False, "rope_theta": 50_000.0,
        },
        {
            LAYER: 0.003, "rope.freq_base": 50_000.0, "rope.dimension_count": 8,
            "use_parallel_residual": False,
        },
    ),
    "nemotron": (
        "nemotron",
        {"norm_eps": 0.003, "partial_rotary_factor": 0.25, "rope_theta": 50_000.0},
        {LAYER: 0.003, "rope.freq_base": 50_000.0, "rope.dimension_count": 4},
    ),
    "falcon": (
        "falcon",
        {
            "layer_norm_epsilon": 0.003, "new_decoder_architecture": True, "num_kv_heads": 2,
            "ffn_hidden_size": 256, "rope_theta": 10_000.0, "tie_word_embeddings": False,
        },
        {LAYER: 0.003, "tensor_data_layout": "jploski", "feed_forward_length": 256},
    ),
    "bloom": (
        "bloom",
        {"layer_norm_epsilon": 0.003, "n_layer": 2, "n_head": 4, "tie_word_embeddings": False},
        {LAYER: 0.003, "feed_forward_length": 256, "attention.head_count_kv": 4},
    ),
    "mamba": (
        "mamba",
        {
            "layer_norm_epsilon": 0.003, "state_size": 8, "conv_kernel": 4, "time_step_rank": 4,
            "intermediate_size": 128, "expand": 2,
        },
        {
            RMS: 0.003, "feed_forward_length": 0, "attention.head_count": 0, "ssm.conv_kernel": 4,
            "ssm.inner_size": 128, "ssm.state_size": 8, "ssm.time_step_rank": 4,
            "attention.head_count_kv": None,
        },
    ),
    "lfm2": (
        "lfm2",
        {
            "norm_eps": 0.003, "conv_L_cache": 3, "full_attn_idxs": [1],
            "block_auto_adjust_ff_dim": False, "rope_theta": 1_000_000.0,
        },
        {
            RMS: 0.003, "attention.head_count_kv": [0, 2], "shortconv.l_cache": 3,
            "rope.freq_base": 1_000_000.0, "vocab_size": ...,
        },
    ),
}  # fmt: skip


def make_model(architecture: str, vocab_size: int, **changes: Any) -> Any:
    """Return transformers' model of an architecture with random weights, norms included."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, settings, _ = MODELS[architecture]
    chosen = {**SIZES, "vocab_size": vocab_size, **settings, **changes}
    torch.manual_seed(20)
    config = AutoConfig.for_model(
        model_type, **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **chosen}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "A_log" not in name:
                tensor.add_(torch.randn_like(tensor) * 0.05)
    return model


def write_model(
    path: Path,
    architecture: str,
    model: Any,
    tokenizer: Mapping[str, Any],
    *,
    more: Mapping[str, np.ndarray | None] | None = None,
    raw: Mapping[str, str] | None = None,
    tensors_per_part: int = 0,
    **changes: Any,
) -> Path:
    """Write a model; `changes` are facts of the architecture's own section, with `__` for a dot.

    `more` has tensors to add, to change or (None) to leave out, `raw` the types of tensors that
    are written as blocks of ones.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, architecture, split_max_tensors=tensors_per_part)
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    for key, value in {**_facts(architecture, model), **changed}.items():
        add_metadata(writer, f"{architecture}.{key}", value)
    for key, value in tokenizer.items():
        add_metadata(writer, key, value)
    for name, values in {**tensors_of(architecture, model), **(more or {})}.items():
        if values is None:
            continue
        if raw and name in raw:
            kind = GGMLQuantizationType[raw[name]]
            block, width = GGML_QUANT_SIZES[kind]
            shape = (*values.shape[:-1], values.shape[-1] // block * width)
            writer.add_tensor(name, np.ones(shape, np.uint8), raw_dtype=kind)
        else:
            add_tensor(writer, name, np.ascontiguousarray(values), GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _facts(architecture: str, model: Any) -> dict[str, Any]:
    said = MODELS[architecture][2]
    settings = {**SIZES, **MODELS[architecture][1]}
    facts = {theirs: settings[ours] for theirs, ours in FACTS.items()}
    facts |= said
    return {k: model.config.vocab_size if v is ... else v for k, v in facts.items()}


def tensors_of(architecture: str, model: Any) -> dict[str, np.ndarray]:
    """Return the tensors under llama.cpp's names and in its form."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(numbers[architecture], 8)
    found = {}
    is_tied = model.config.tie_word_embeddings
    for name, values in model.state_dict().items():
        if name == "lm_head.weight" and is_tied:
            continue
        array = values.numpy()
        if name.endswith("experts.gate_up_proj"):
            # transformers 5 keeps gate above up; llama.cpp has two tensors.
            parts = dict(zip(("gate", "up"), np.split(array, 2, axis=1), strict=True))
        else:
            parts = {"": array}
        for part, content in parts.items():
            whole = name.replace("gate_up_proj", f"{part}_proj") if part else name
            stem, kind = whole, ".weight"
            if whole.endswith((".weight", ".bias")):
                stem, _, kind = whole.rpartition(".")
                kind = f".{kind}"
            elif "experts" not in whole:
                kind = ""
            theirs = names.get_name(stem) or names.get_name(stem.removeprefix("transformer."))
            assert theirs is not None, whole
            turn = TURNS.get(architecture, lambda name, values, config: values)
            found[theirs + kind] = turn(theirs + kind, content, model.config)
    return found


def _llama(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Neighbours are rotated together, not the two halves of a head."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for part, count in heads.items():
        if f".{part}." in name:
            halves = values.reshape(count, 2, -1, *values.shape[1:])
            return halves.swapaxes(1, 2).reshape(values.shape)
    return values


def _gpt2(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """GPT-2's linear layers are the other way round."""
    turned = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return values.T if name.endswith(turned) else values


def _one_more(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    """Norms multiply with one more than the checkpoint says."""
    return values + 1 if name.endswith("norm.weight") else values


def _mamba(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    if name.endswith("ssm_conv1d.weight"):
        return values.squeeze(1)
    return -np.exp(values) if name.endswith("ssm_a") else values


def _lfm2(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    return values.squeeze(1) if "shortconv.conv" in name else values


def _qwen2moe(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    return values.squeeze(0) if "ffn_gate_inp_shexp" in name else values


def _bloom(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    if "attn_qkv" not in name:
        return values
    heads = values.reshape(config.n_head, 3, -1, *values.shape[1:])
    return np.concatenate([heads[:, n].reshape(-1, *values.shape[1:]) for n in range(3)])


def _falcon(name: str, values: np.ndarray, config: Any) -> np.ndarray:
    if "attn_qkv" not in name:
        return values
    groups, queries = config.num_kv_heads, config.num_attention_heads // config.num_kv_heads
    parts = values.reshape(groups, queries + 2, -1, *values.shape[1:])
    split = (parts[:, :queries], parts[:, queries : queries + 1], parts[:, queries + 1 :])
    return np.concatenate([part.reshape(-1, *values.shape[1:]) for part in split])


TURNS: Mapping[str, Callable[[str, np.ndarray, Any], np.ndarray]] = {
    "bloom": _bloom,
    "falcon": _falcon,
    "gemma2": _one_more,
    "gemma3": _one_more,
    "gpt2": _gpt2,
    "lfm2": _lfm2,
    "llama": _llama,
    "mamba": _mamba,
    "nemotron": _one_more,
    "qwen2moe": _qwen2moe,
}
