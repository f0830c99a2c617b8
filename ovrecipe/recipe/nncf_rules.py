"""What NNCF refuses, known before a checkpoint was fetched.

Source: nncf.compress_weights with the OpenVINO backend and its
check_user_compression_configuration, NNCF 3.4. A knob that NNCF would take and then not use is
refused as well: nothing that a recipe says is dropped silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.recipe.sections import Objection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrecipe.recipe.compression import CompressionPass

#: Knobs that NNCF rejects in its INT8 modes.
LOW_BIT_KNOBS = (
    "group_size",
    "ratio",
    "all_layers",
    "backup_mode",
    "awq",
    "scale_estimation",
    "gptq",
    "lora_correction",
    "sensitivity_metric",
    "group_size_fallback",
    "dataset",
    "num_samples",
)
DATA_AWARE = ("scale_estimation", "gptq", "lora_correction")
CORRECTIONS = ("awq", *DATA_AWARE)
#: Modes without weight correction of any kind.
PLAIN_MODES = ("mxfp4", "mxfp8_e4m3", "fp8_e4m3", "fp4", "nvfp4")
FIXED_GROUP_SIZES = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}


def nncf_objections(each: CompressionPass, precision: str) -> Iterator[Objection]:
    """Yield what is wrong with one pass of an NNCF compression to `precision`."""
    for name in each.options:
        yield Objection(("options", name), "nncf has no options; its knobs stand beside 'options'")
    yield from _mode_objections(each, precision)
    mode = each.mode_for(precision)
    if mode.startswith("int8"):
        yield from _int8_objections(each)
        return
    yield from _group_objections(each, mode)
    yield from _correction_objections(each, mode)
    yield from _dataset_objections(each)


def _mode_objections(each: CompressionPass, precision: str) -> Iterator[Objection]:
    if each.sym is None:
        return
    mode = each.mode_for(precision)
    if not mode.startswith("int"):
        yield Objection(("sym",), f"{mode} is neither symmetric nor asymmetric; remove it")
    elif each.mode is not None and each.mode.endswith("_asym") is each.sym:
        yield Objection(("sym",), f"contradicts 'mode: {each.mode}'; keep one of the two")


def _int8_objections(each: CompressionPass) -> Iterator[Objection]:
    for name in LOW_BIT_KNOBS:
        if getattr(each, name) is not None:
            reason = f"int8 takes no {name} (NNCF compresses every weight per channel); remove it"
            yield Objection((name,), reason)


def _group_objections(each: CompressionPass, mode: str) -> Iterator[Objection]:
    fixed = FIXED_GROUP_SIZES.get(mode)
    if fixed is None:
        return
    if each.group_size not in (None, fixed):
        yield Objection(("group_size",), f"{mode} has groups of {fixed}, got {each.group_size}")
    if each.group_size_fallback == "adjust":
        yield Objection(("group_size_fallback",), f"{mode} cannot adjust its groups of {fixed}")


def _correction_objections(each: CompressionPass, mode: str) -> Iterator[Objection]:
    for name in CORRECTIONS:
        if getattr(each, name) and mode in PLAIN_MODES:
            yield Objection((name,), f"NNCF has no {name} for {mode}; remove it")
    for name in DATA_AWARE:
        if getattr(each, name) and each.dataset is None:
            yield Objection((name,), "needs data; add 'dataset: generated' or a file of yours")
    if each.gptq and each.lora_correction:
        yield Objection(("lora_correction",), "NNCF cannot do it together with gptq; keep one")


def _dataset_objections(each: CompressionPass) -> Iterator[Objection]:
    mixed = each.ratio is not None and each.ratio < 1
    corrected = any(getattr(each, name) for name in CORRECTIONS)
    metric = each.sensitivity_metric
    if each.dataset is not None and not (mixed or corrected):
        reason = "would be read and not used: nothing here is data-aware (awq, ratio below 1, ...)"
        yield Objection(("dataset",), reason)
    if each.num_samples is not None and each.dataset is None:
        yield Objection(("num_samples",), "counts samples of a 'dataset', which is not given")
    if metric is not None and not mixed:
        reason = "chooses what keeps more bits, but at ratio 1 nothing does; give a ratio below 1"
        yield Objection(("sensitivity_metric",), reason)
    if metric not in (None, "weight_quantization_error") and each.dataset is None:
        reason = f"{metric} is measured on data; add 'dataset: generated' or a file of yours"
        yield Objection(("sensitivity_metric",), reason)
