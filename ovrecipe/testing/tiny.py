"""Tiny checkpoints: any architecture of transformers with two layers and random weights.

They compute what a real checkpoint of the architecture computes, with windows so small that a few
words go beyond them, in a second and some megabytes. `benchmarks/architectures.py` takes each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ovrecipe.builtin.transformers_lines import dtype_option

#: What configurations of all kinds call it; a name that a class does not know changes nothing.
SIZES: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
#: Experts, as few as leave a choice.
EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
}
#: The sizes of encoders and decoders, of which the decoder is taken.
DECODER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "is_decoder": True,
}
#: Below the length of what is read, so that a wrong window shows.
WINDOW = 16
SMALL_WINDOW = {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 0}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_chunk_size": 16,
    "shared_intermediate_size": 64,
}
MULTIPLIERS = {
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.0625,
    "logits_scaling": 8.0,
}
#: Four layers, of which the last two read keys and values of the first two.
LAYERS_THAT_SHARE = {
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": WINDOW,
}
#: How many numbers of a matrix are drawn: matrices of another kind, by the end of their name.
LEFT_ALONE = ("A_log", "conv1d.weight", "alibi")
#: How far logits, whose standard deviation is 1, may be moved by constants that fp16 has rounded,
#: as tables of positions: 3e-3 with GPT-OSS, whose base is exact to 5e-6.
TIE = 5e-3
#: Numbers closer to 0 lose digits in float16.
SMALLEST = 2.0**-14
#: Most checkpoints are bfloat16; those of before were not.
FLOAT32 = "float32"


class Tiny(NamedTuple):
    """One checkpoint: its `model_type`, and what differs from `SIZES`."""

    model_type: str
    config: Mapping[str, Any] = {}
    dtype: str = "bfloat16"


def _same(*names: str, **config: Any) -> dict[str, Tiny]:
    dtype = config.pop("dtype", "bfloat16")
    return {name: Tiny(name, config, dtype) for name in names}


#: By the name in the table of architectures: a `model_type`, and behind a `+` a kind of it.
TINY: Mapping[str, Tiny] = {
    **_same("llama", "arcee", "cohere", "gemma", "glm", "glm4", "hunyuan_v1_dense", head_dim=16),
    **_same("bitnet", "gpt_bigcode", "olmo", "olmo2", "persimmon", "qwen3"),
    **_same("codegen", "gptj", rotary_dim=8),
    **_same("gpt2", "opt", "biogpt", "bloom", "gpt_neox", dtype=FLOAT32, ffn_dim=128),
    **_same("smollm3", "stablelm", no_rope_layers=[1, 0], partial_rotary_factor=0.5),
    **_same("phi", num_key_value_heads=4, partial_rotary_factor=0.5),
    **_same("mistral", "qwen2", "starcoder2", **SMALL_WINDOW),
    **_same("cohere2", "exaone4", layer_types=["sliding_attention", "full_attention"], head_dim=16,
            **SMALL_WINDOW, sliding_window_pattern=2),
    **_same("gemma2", "gemma3_text", layer_types=["sliding_attention", "full_attention"],
            head_dim=16, query_pre_attn_scalar=16, **SMALL_WINDOW),
    **_same("mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "granitemoe", **EXPERTS, head_dim=16),
    **_same("bart", "mbart", "blenderbot", "blenderbot-small", "pegasus", "marian",
            dtype=FLOAT32, **DECODER),
    "bigbird_pegasus": Tiny("bigbird_pegasus", {**DECODER, "attention_type": "original_full"},
                            FLOAT32),
    "xglm": Tiny("xglm", {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4},
                 FLOAT32),
    "gpt_neox_japanese": Tiny("gpt_neox_japanese", {"intermediate_multiple_size": 2}, FLOAT32),
    "gpt_neo": Tiny("gpt_neo", {"attention_types": [[["global", "local"], 1]],
                                "window_size": WINDOW, "num_layers": 2}, FLOAT32),
    "mpt": Tiny("mpt", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}),
    "falcon": Tiny("falcon", {"num_kv_heads": 1, "ffn_hidden_size": 128}),
    "falcon+new": Tiny("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2,
                                  "ffn_hidden_size": 128}),
    "falcon+alibi": Tiny("falcon", {"alibi": True, "multi_query": False, "num_kv_heads": 4,
                                    "ffn_hidden_size": 128}),
    "phi+grouped": Tiny("phi", {"num_key_value_heads": 2}),
    "phi3": Tiny("phi3", {"pad_token_id": 0}),
    "phi3+window": Tiny("phi3", {"pad_token_id": 0, "sliding_window": WINDOW}),
    "granite": Tiny("granite"),
    "granite+multipliers": Tiny("granite", MULTIPLIERS),
    "granitemoehybrid": Tiny("granitemoehybrid", {**EXPERTS, **MAMBA,
                                                  "layer_types": ["mamba", "attention"]}),
    "gpt_oss": Tiny("gpt_oss", {**EXPERTS, "head_dim": 16, "sliding_window": WINDOW,
                                "layer_types": ["sliding_attention", "full_attention"]}),
    "afmoe": Tiny("afmoe", {**EXPERTS, "head_dim": 16, "sliding_window": WINDOW,
                            "num_dense_layers": 1, "global_attn_every_n_layers": 2}),
    "afmoe+dense": Tiny("afmoe", {**EXPERTS, "head_dim": 16, "sliding_window": WINDOW,
                                  "num_dense_layers": 2, "global_attn_every_n_layers": 2}),
    **_same("gemma4_text", "gemma4_unified_text", **LAYERS_THAT_SHARE, head_dim=16,
            global_head_dim=32, hidden_size_per_layer_input=32, vocab_size_per_layer_input=49152),
    "gemma3n_text": Tiny("gemma3n_text", {**LAYERS_THAT_SHARE, "head_dim": 16, "laurel_rank": 32,
                                          "hidden_size_per_layer_input": 32,
                                          "vocab_size_per_layer_input": 49152,
                                          "activation_sparsity_pattern": [0.95, 0, 0, 0]}),
    "deepseek_v3": Tiny("deepseek_v3", {"first_k_dense_replace": 1, "n_routed_experts": 4,
                                        "num_experts_per_tok": 2, "moe_intermediate_size": 64,
                                        "n_group": 2, "topk_group": 1, "num_key_value_heads": 4,
                                        "kv_lora_rank": 32, "q_lora_rank": 32, "v_head_dim": 16,
                                        "qk_nope_head_dim": 16, "qk_rope_head_dim": 16}),
    "dbrx": Tiny("dbrx", {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512,
                          "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
                          "ffn_config": {"ffn_hidden_size": 128, "moe_num_experts": 4,
                                         "moe_top_k": 2}}),
    "llama4_text": Tiny("llama4_text", {**EXPERTS, "head_dim": 16, "attention_chunk_size": WINDOW,
                                        "intermediate_size_mlp": 128, "num_experts_per_tok": 1,
                                        "no_rope_layers": [1, 0], "moe_layers": [1]}),
    "lfm2": Tiny("lfm2", {"layer_types": ["conv", "full_attention"], "block_ff_dim": 128}),
    "lfm2_moe": Tiny("lfm2_moe", {**EXPERTS, "layer_types": ["conv", "full_attention"],
                                  "num_dense_layers": 1}),
    "mamba": Tiny("mamba", {"state_size": 16, "time_step_rank": 4, "expand": 2},
                  FLOAT32),
    "falcon_mamba": Tiny("falcon_mamba", {"state_size": 16, "time_step_rank": 4, "expand": 2},
                  FLOAT32),
    "zamba2": Tiny("zamba2", {"mamba_d_state": 16, "mamba_headdim": 16, "n_mamba_heads": 8,
                              "chunk_size": 16, "num_key_value_heads": 4, "adapter_rank": 8,
                              "layers_block_type": ["mamba", "hybrid"]}),
    **_same("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", **EXPERTS, head_dim=16,
            linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16,
            linear_value_head_dim=16, layer_types=["linear_attention", "full_attention"]),
}  # fmt: skip


def make_tiny(folder: Path, name: str, tokenizer_dir: Path) -> Path:
    """Write the checkpoint called `name` with the tokenizer of another, and return its folder.

    Raises:
        KeyError: there is none of that name in `TINY`.
        ValueError: the installed transformers does not know the architecture.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
    from transformers import __version__ as version

    tiny = TINY[name]
    ids = _copy_tokenizer(tokenizer_dir, folder)
    config = AutoConfig.for_model(tiny.model_type, **{**SIZES, **ids, **tiny.config})
    torch.manual_seed(20)
    options = {dtype_option(version): getattr(torch, tiny.dtype)}
    model = AutoModelForCausalLM.from_config(config, **options)
    with torch.no_grad():
        for of, weight in model.named_parameters():
            if weight.dim() > 1 and not of.endswith(LEFT_ALONE):
                # Attention must choose, or nobody sees what it looks at.
                weight.normal_(0, SIZES["hidden_size"] ** -0.5)
                # What float16 cannot say would make fp16 answer otherwise than its source.
                weight.copy_(weight.half())
                weight[weight.abs() < SMALLEST] = 0
    ids.pop("vocab_size")
    model.generation_config = GenerationConfig(**ids)
    model.save_pretrained(folder)
    return folder


def torch_answers(
    checkpoint_dir: Path, prompts: Sequence[Sequence[int]], new_tokens: int
) -> list[list[list[int]]]:
    """Return what a checkpoint's own code goes on with, greedily, in float32.

    All is read anew for each token. Of each place all tokens that are as likely within `TIE`,
    the chosen one first.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers import __version__ as version

    options = {dtype_option(version): torch.float32}
    model = AutoModelForCausalLM.from_pretrained(checkpoint_dir, **options).eval()
    # Without one, layers of Gemma 3n that share keys make up their own, as Gemma 4's did
    # (huggingface/transformers#45242).
    new_cache = bool(getattr(model.config, "num_kv_shared_layers", 0))
    tokens = torch.tensor(prompts)
    found: list[list[list[int]]] = [[] for _ in prompts]
    with torch.inference_mode():
        for _ in range(new_tokens):
            logits = model(tokens, use_cache=new_cache).logits[:, -1]
            likeliest, order = logits.topk(4)
            for row, answer in enumerate(found):
                near = likeliest[row] >= likeliest[row, 0] - TIE
                answer.append(order[row][near].tolist())
            tokens = torch.cat([tokens, order[:, :1]], dim=1)
    return found


def agreed(answer: Sequence[int], likely: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return how many tokens of an answer are those of torch, and how many can be compared.

    Behind a tie that fell the other way both read other texts, and nothing can be.
    """
    for number, (token, tied) in enumerate(zip(answer, likely, strict=True)):
        if token != tied[0]:
            return number, number if token in tied else len(answer)
    return len(answer), len(answer)


def _copy_tokenizer(tokenizer_dir: Path, folder: Path) -> dict[str, int]:
    """Copy the tokenizer's files; return the size of the vocabulary and the special ids."""
    from shutil import copyfile

    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    for path in tokenizer_dir.glob("*"):
        if path.name.startswith(("tokenizer", "chat_template", "vocab", "merges", "special")):
            copyfile(path, folder / path.name)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    known = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    named = ("bos_token_id", "eos_token_id", "pad_token_id")
    found = {name: getattr(tokenizer, name) for name in named}
    size = max(len(tokenizer), *(token["id"] + 1 for token in known["added_tokens"]))
    return {
        "vocab_size": size,
        **{name: number for name, number in found.items() if number is not None},
    }
