"""How a GGUF file turns its positions: the width, the base and the scaling of rotary embeddings.

Written in the form that transformers 4 and 5 both read.
"""

from collections.abc import Mapping
from math import isclose, log, pi, sqrt
from typing import Any

from ovrecipe.builtin.gguf_file import GgufFile

#: llama.cpp's when a file does not say.
BASE = 10_000.0
#: What Llama 3.1, 3.2 and 3.3 have in common; the file has only the factor of each frequency.
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
#: The scaling keys that are read, or change nothing.
READ = {"type", "factor", "original_context_length", "attn_factor", "finetuned"}
LONG, SHORT, FREQUENCIES = (
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "rope_freqs.weight",
)
#: Tensors that become a part of config.json.
TENSORS = {LONG, SHORT, FREQUENCIES}


def rope_of(file: GgufFile, untold: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `rope_theta`, `head_dim` and what else a class has of it.

    `untold` is the configuration of a class that was told nothing.

    Raises:
        CheckpointIncomplete: the file turns positions in a way that cannot be written down.
    """
    settings = getattr(untold, "rope_parameters", None)
    if settings is None:
        return {}
    equal_width = config["hidden_size"] // config["num_attention_heads"]
    # Old Llama files say the width of a head only here.
    said = file.fact("rope.dimension_count") if file.architecture == "llama" else None
    width = int(file.fact("attention.key_length") or said or equal_width)
    if file.fact("attention.value_length", width) != width:
        raise file.refusal("its keys and its values differ in width")
    found: dict[str, Any] = {"rope_theta": float(file.fact("rope.freq_base", BASE))}
    # Falcon's class works it out and takes no other.
    if "head_dim" in untold.to_dict() or width != equal_width:
        found["head_dim"] = width
    if "sliding_attention" in settings:
        found["rope_local_base_freq"] = float(file.fact("rope.freq_base_swa", BASE))
    rotated = int(file.fact("rope.dimension_count") or width)
    if hasattr(untold, "partial_rotary_factor") or "partial_rotary_factor" in settings:
        found["partial_rotary_factor"] = rotated / width
    elif rotated not in (width, config.get("rotary_dim")):
        raise file.refusal(f"it turns {rotated} of the {width} numbers of a head")
    return found | _scaling(file, config, base=found["rope_theta"], rotated=rotated)


def _scaling(
    file: GgufFile, config: Mapping[str, Any], *, base: float, rotated: int
) -> dict[str, Any]:
    """Return `rope_scaling`, or nothing when positions are taken as they are."""
    start = "rope.scaling."
    said = {key.removeprefix(start): v for key, v in file.facts.items() if key.startswith(start)}
    kind, factor = said.get("type", "none"), said.get("factor")
    original = said.get("original_context_length")
    unread = sorted(said.keys() - READ)
    if unread:
        raise file.refusal(
            f"its rotary positions are scaled by {start}{unread[0]}, which is not read"
        )
    if {LONG, SHORT} & file.tensors.keys():
        return _longrope(file, config, original=original, attention=said.get("attn_factor"))
    if said.get("attn_factor", 1.0) != 1.0:
        raise file.refusal(f"its attention is scaled with its positions ({start}attn_factor)")
    if FREQUENCIES in file.tensors:
        return {"rope_scaling": _llama3(file, base, rotated)}
    if kind == "none":
        return {}
    if kind == "linear" and factor:
        return {"rope_scaling": {"rope_type": "linear", "factor": float(factor)}}
    if kind == "yarn" and factor and original:
        names = {"factor": float(factor), "original_max_position_embeddings": int(original)}
        return {"rope_scaling": {"rope_type": "yarn", **names}}
    raise file.refusal(
        f"its rotary positions are scaled ({kind}), which cannot be read from a GGUF file exactly"
    )


def _llama3(file: GgufFile, base: float, rotated: int) -> dict[str, Any]:
    """Return the scaling whose factors the file has, if it is one of Llama 3's.

    Source: https://github.com/meta-llama/llama-models, `apply_scaling`.
    """
    found = file.dequantized(file.tensors[FREQUENCIES]).reshape(-1).tolist()
    scaling = {"rope_type": "llama3", "factor": float(max(found)), **LLAMA3}
    if len(found) == rotated // 2 and all(
        isclose(factor, expected, rel_tol=1e-4)
        for factor, expected in zip(found, _llama3_factors(scaling, base, rotated), strict=True)
    ):
        return scaling
    raise file.refusal(
        "its rotary positions are scaled (rope_freqs.weight) by other factors than those of "
        "Llama 3.1 to 3.3, which cannot be written into a checkpoint"
    )


def _llama3_factors(scaling: Mapping[str, Any], base: float, rotated: int) -> list[float]:
    """Return by how much each frequency is divided: long waves wholly, short ones not at all."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, factor = scaling["original_max_position_embeddings"], scaling["factor"]
    factors = []
    for place in range(0, rotated, 2):
        turns = original / (2 * pi * base ** (place / rotated))
        smooth = min(1.0, max(0.0, (turns - low) / (high - low)))
        factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def _longrope(
    file: GgufFile, config: Mapping[str, Any], *, original: int | None, attention: float | None
) -> dict[str, Any]:
    """Return Phi-3's scaling: factors of each frequency for short and for long texts."""
    if not {LONG, SHORT} <= file.tensors.keys() or not original:
        raise file.refusal("its rotary positions have factors for long or for short texts only")
    stretch = config["max_position_embeddings"] / original
    own = sqrt(1 + log(stretch) / log(original)) if stretch > 1 else 1.0
    if attention is not None and not isclose(attention, own, rel_tol=1e-4):
        raise file.refusal(f"its attention is scaled by {attention}, and longrope's own is {own}")
    factors = {
        name: [float(str(value)) for value in file.dequantized(file.tensors[tensor]).reshape(-1)]
        for name, tensor in (("long_factor", LONG), ("short_factor", SHORT))
    }
    return {
        "rope_scaling": {"rope_type": "longrope", "type": "longrope", **factors},
        "original_max_position_embeddings": int(original),
    }
