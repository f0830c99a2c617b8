"""config.json and generation_config.json from a GGUF file's metadata.

transformers says which architectures it can map and under which names (`GGUF_CONFIG_MAPPING`),
and leaves out facts that change answers: soft caps, partial rotation, scaled positions, the width
of Falcon's heads. What its table lacks stands here, and a fact that has no place in either is
refused: a model that is nearly right is worse than none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ovrecipe.builtin.gguf_file import GgufFile
from ovrecipe.builtin.gguf_rope import rope_of

#: GGUF's facts in the order in which they are written, and what transformers' classes call them.
NAMES: Mapping[str, tuple[str, ...]] = {
    "embedding_length": ("hidden_size",),
    "feed_forward_length": ("intermediate_size", "n_inner", "ffn_hidden_size"),
    "block_count": ("num_hidden_layers",),
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads", "num_kv_heads"),
    "context_length": ("max_position_embeddings",),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": (
        "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps",
    ),
    "attention.sliding_window": ("sliding_window",),
    "attn_logit_softcapping": ("attn_logit_softcapping",),
    "final_logit_softcapping": ("final_logit_softcapping",),
    "expert_feed_forward_length": ("moe_intermediate_size", "intermediate_size"),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
    "use_parallel_residual": ("use_parallel_residual",),
}  # fmt: skip
EPSILONS = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")
#: Facts that the shapes of the tensors repeat, or that change no answer.
REPEATED = {
    "attention.head_count_kv", "attention.value_length", "context_length", "feed_forward_length",
    "tensor_data_layout", "vocab_size",
}  # fmt: skip
#: Which tensor a checkpoint has when a class is told to have biases.
BIASES = {
    "attention_bias": "blk.0.attn_q.bias",
    "mlp_bias": "blk.0.ffn_up.bias",
    "qkv_bias": "blk.0.attn_q.bias",
    "use_qkv_bias": "blk.0.attn_q.bias",
    "use_bias": "blk.0.attn_q.bias",
    "bias": "blk.0.attn_qkv.bias",
}
#: How a chat model ends its turn, by llama.cpp's names, when the file does not say.
ENDS_OF_TURN = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>")


@dataclass(frozen=True)
class Family:
    """What transformers has for a GGUF architecture: its model type, class and table of names."""

    model_type: str
    class_name: str
    table: Mapping[str, str | None]
    defaults: Mapping[str, Any]

    @cached_property
    def untold(self) -> Any:
        """The configuration of a checkpoint that says nothing."""
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        return CONFIG_MAPPING[self.model_type]()

    def knows(self, name: str) -> bool:
        """Say whether the class has a setting."""
        return hasattr(self.untold, name)

    def name_of(self, fact: str) -> str | None:
        """Return what the class calls a fact, None when it has no place for it."""
        said = self.table.get(fact)
        names = [said] if said else []
        found = [name for name in (*names, *NAMES.get(fact, ())) if self.knows(name)]
        return found[0] if found else said


def family_of(file: GgufFile) -> Family:
    """Return what transformers has for the file's architecture.

    Raises:
        CheckpointIncomplete: it has no table for it, or no class that generates text.
    """
    from transformers import __version__
    from transformers.integrations.ggml import GGUF_CONFIG_DEFAULTS_MAPPING, GGUF_CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    tables = {_plain(name): name for name in GGUF_CONFIG_MAPPING.keys() - {"general", "tokenizer"}}
    name = tables.get(_plain(file.architecture))
    here = f"transformers {__version__}"
    if name is None:
        known = ", ".join(sorted(tables.values()))
        reason = f"{here} cannot map the GGUF architecture '{file.architecture}', only {known}"
        raise file.refusal(reason)
    # The text model of a family that sees as well.
    model_types = [f"{name}_text", name]
    found = [kind for kind in model_types if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]
    if not found:
        reason = f"{here} has no class that continues texts for '{file.architecture}'"
        raise file.refusal(reason, remedy="take a decoder-only model")
    return Family(
        model_type=found[0],
        class_name=MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[found[0]],
        table=GGUF_CONFIG_MAPPING[name],
        defaults=GGUF_CONFIG_DEFAULTS_MAPPING.get(name, {}),
    )


def config_of(file: GgufFile, *, dtype: str) -> dict[str, Any]:
    """Return the content of config.json; `dtype` is that of the written weights.

    Raises:
        CheckpointIncomplete: something cannot be mapped; guessing gives wrong answers.
    """
    family = family_of(file)
    config = {
        "architectures": [family.class_name],
        "model_type": family.model_type,
        "dtype": dtype,
        "vocab_size": _vocab_size(file),
    }
    if family.knows("hidden_act"):
        config["hidden_act"] = family.untold.hidden_act
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    config |= {**family.defaults, **_named_facts(file, family)}
    config |= rope_of(file, family.untold, config)
    config |= {name: bias in file.tensors for name, bias in BIASES.items() if family.knows(name)}
    if family.model_type in SPECIAL_CASES:
        config |= SPECIAL_CASES[family.model_type](file, config)
    return {**config, **_without(family), **_token_ids(file)}


def generation_config_of(file: GgufFile) -> dict[str, Any]:
    """Return the content of generation_config.json: only which tokens begin and end a text."""
    facts = _token_ids(file)
    end_of_turn = file.get("tokenizer.ggml.eot_token_id")
    if end_of_turn is None:
        end_of_turn = next((file.ids[text] for text in ENDS_OF_TURN if text in file.ids), None)
    if end_of_turn is not None and end_of_turn != facts["eos_token_id"]:
        facts["eos_token_id"] = [facts["eos_token_id"], int(end_of_turn)]
    return facts


def _plain(name: str) -> str:
    """Return a name as both sides would write it: qwen2_moe here is qwen2moe there."""
    return name.replace("_", "").replace("-", "")


def _vocab_size(file: GgufFile) -> int:
    """Return the rows of the embeddings; they may be more than there are tokens."""
    if "token_embd.weight" not in file.tensors:
        raise file.refusal("the tensor token_embd.weight is missing")
    return int(file.tensors["token_embd.weight"].shape[-1])


def _named_facts(file: GgufFile, family: Family) -> dict[str, Any]:
    facts = file.facts
    others = [fact for fact in family.table if fact not in NAMES]
    config = {}
    for fact in (*NAMES, *others):
        value, name = facts.get(fact), family.name_of(fact)
        if name in ("head_dim", "rope_theta"):
            continue  # come with the rest of the rotary embeddings
        # Lists of one value per layer are a special case or refused below.
        if value is not None and name is not None and not isinstance(value, list):
            config[name] = _short(value)
    heads = family.name_of("attention.head_count_kv")
    if heads is not None and "attention.head_count" in facts:
        config.setdefault(heads, facts["attention.head_count"])
    _check_complete(file, family)
    _check_placed(file, family)
    return config


def _check_complete(file: GgufFile, family: Family) -> None:
    """Refuse metadata without which transformers' own defaults would be taken."""
    wanted = [fact for fact in list(NAMES)[:6] if family.name_of(fact) and fact in family.table]
    missing = [fact for fact in wanted if file.fact(fact) is None]
    missing = [fact for fact in missing if fact != "attention.head_count_kv"]
    if not any(file.fact(fact) for fact in EPSILONS):
        missing.append(next((fact for fact in EPSILONS if fact in family.table), EPSILONS[1]))
    if missing:
        keys = ", ".join(f"{file.architecture}.{fact}" for fact in missing)
        raise file.refusal(f"the GGUF metadata has no {keys}")


def _check_placed(file: GgufFile, family: Family) -> None:
    """Refuse a fact that would be lost."""
    for fact, value in file.facts.items():
        is_placed = family.name_of(fact) is not None or fact in REPEATED
        differs = isinstance(value, list) and len({*value}) > 1
        if differs and family.model_type not in SPECIAL_CASES:
            raise file.refusal(f"{file.architecture}.{fact} differs between layers: {value}")
        if value and not (is_placed or fact.startswith("rope.") or fact == "attention.key_length"):
            reason = f"{file.architecture}.{fact} is {value}, and {family.class_name} has no place"
            raise file.refusal(f"{reason} for it")


def _short(value: Any) -> Any:
    """Return the short decimal behind a float32: 1e-05, not 9.999999747378752e-06."""
    from numpy import float32

    return float(str(float32(value))) if isinstance(value, float) else value


def _without(family: Family) -> dict[str, None]:
    """Return no for the special tokens that the class would make up."""
    names = ("bos_token_id", "pad_token_id")
    return {name: None for name in names if getattr(family.untold, name, None) is not None}


def _token_ids(file: GgufFile) -> dict[str, Any]:
    file.needed("tokenizer.ggml.eos_token_id")
    names = ("bos", "eos", "pad")
    return {
        f"{name}_token_id": file.special_ids[name] for name in names if name in file.special_ids
    }


def _falcon(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:
    groups = config["num_kv_heads"]
    norms = 2 if "blk.0.attn_norm_2.weight" in file.tensors else 1
    is_new = groups > 1
    new = {"new_decoder_architecture": is_new, "multi_query": not is_new}
    return {**new, "num_ln_in_parallel_attn": norms} if is_new else new


def _gemma(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:
    """Scale the scores as llama.cpp does: by the width of a head, but for the two of 27B."""
    layers_of_27b = {"gemma2": 46, "gemma3": 62}[file.architecture]
    width = config["head_dim"]
    if config["num_hidden_layers"] == layers_of_27b:
        width = config["hidden_size"] // config["num_attention_heads"]
    return {"query_pre_attn_scalar": width}


def _lfm2(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """A layer without key-value heads is a convolution."""
    heads = file.needed("lfm2.attention.head_count_kv")
    layers = [number for number, count in enumerate(heads) if count]
    return {
        "num_key_value_heads": max(heads),
        "full_attn_idxs": layers,
        "block_auto_adjust_ff_dim": False,
    }


def _stablelm(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return {"use_parallel_residual": "blk.0.ffn_norm.weight" not in file.tensors}


def _minimax(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    functions = {0: "none", 1: "softmax", 2: "sigmoid"}
    return {"scoring_func": functions[file.fact("expert_gating_func", 2)]}


def _unwindowed(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return {"use_sliding_window": False}


#: What only the tensors, or llama.cpp's own code, say of a model type.
SPECIAL_CASES: Mapping[str, Callable[[GgufFile, Mapping[str, Any]], dict[str, Any]]] = {
    "falcon": _falcon,
    "gemma2": _gemma,
    "gemma3_text": _gemma,
    "lfm2": _lfm2,
    "minimax_m2": _minimax,
    "qwen2": _unwindowed,
    "qwen2_moe": _unwindowed,
    "qwen3": _unwindowed,
    "qwen3_moe": _unwindowed,
    "stablelm": _stablelm,
}
