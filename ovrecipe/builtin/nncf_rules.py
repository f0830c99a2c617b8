"""What NNCF takes and how large its result is, judged from knobs and shapes before any export.

Source: nncf.compress_weights with the OpenVINO backend and its
check_user_compression_configuration, NNCF 3.4. A knob that NNCF would take and then not use is
objected to as well: nothing that a recipe says is dropped silently.
"""

import math
import re
from collections.abc import Iterator, Sequence

from ovrecipe.builtin.ir import vector_bytes
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.recipe.compression import CompressionPass, IgnoredScope
from ovrecipe.recipe.sections import Objection

#: optimum-cli's `--group-size` when it is left out (and NNCF's own for the other modes).
DEFAULT_GROUP_SIZE = 128
#: Modes whose group size NNCF fixes by itself.
FIXED_GROUP_SIZE = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}
DEFAULT_NUM_SAMPLES = 128
DATA_AWARE = ("scale_estimation", "gptq", "lora_correction")
CORRECTIONS = ("awq", *DATA_AWARE)
#: Knobs that NNCF rejects in its INT8 modes.
LOW_BIT_KNOBS = (
    "group_size", "ratio", "all_layers", "backup_mode", *CORRECTIONS, "sensitivity_metric",
    "group_size_fallback", "dataset", "num_samples",
)  # fmt: skip
#: Modes without weight correction of any kind.
PLAIN_MODES = ("mxfp4", "mxfp8_e4m3", "fp8_e4m3", "fp4", "nvfp4")
#: Modes with 8 bits per weight that are not INT8.
EIGHT_BIT_FLOATS = ("mxfp8_e4m3", "fp8_e4m3")


def is_int8(mode: str) -> bool:
    """Return whether NNCF compresses every weight to 8 bits per channel in that mode."""
    return mode.startswith("int8")


def group_size_of(compression: CompressionPass, mode: str) -> int:
    """Return the group size that NNCF will use."""
    if is_int8(mode):
        return -1
    if mode in FIXED_GROUP_SIZE:
        return FIXED_GROUP_SIZE[mode]
    return DEFAULT_GROUP_SIZE if compression.group_size is None else compression.group_size


def knob_objections(compression: CompressionPass, precision: str) -> Iterator[Objection]:
    """Yield what is wrong with the knobs of one pass to `precision`."""
    for name in compression.options:
        yield Objection(("options", name), "nncf has no options; its knobs stand beside 'options'")
    mode = compression.mode_for(precision)
    if compression.sym is not None and not mode.startswith("int"):
        yield Objection(("sym",), f"{mode} is neither symmetric nor asymmetric; remove it")
    elif compression.sym is not None and mode.endswith("_asym") is compression.sym:
        yield Objection(("sym",), f"contradicts 'mode: {mode}'; keep one of the two")
    if is_int8(mode):
        for name in LOW_BIT_KNOBS:
            if getattr(compression, name) is not None:
                why = f"int8 takes no {name} (NNCF compresses every weight per channel); remove it"
                yield Objection((name,), why)
        return
    yield from _group_objections(compression, mode)
    yield from _correction_objections(compression, mode)
    yield from _dataset_objections(compression)


def _group_objections(compression: CompressionPass, mode: str) -> Iterator[Objection]:
    fixed, given = FIXED_GROUP_SIZE.get(mode), compression.group_size
    if fixed is not None and given not in (None, fixed):
        yield Objection(("group_size",), f"{mode} has groups of {fixed}, got {given}")
    if fixed is not None and compression.group_size_fallback == "adjust":
        yield Objection(("group_size_fallback",), f"{mode} cannot adjust its groups of {fixed}")


def _correction_objections(compression: CompressionPass, mode: str) -> Iterator[Objection]:
    for name in CORRECTIONS:
        if getattr(compression, name) and mode in PLAIN_MODES:
            yield Objection((name,), f"NNCF has no {name} for {mode}; remove it")
    for name in DATA_AWARE:
        if getattr(compression, name) and compression.dataset is None:
            yield Objection((name,), "needs data; add 'dataset: generated' or a file of yours")
    if compression.gptq and compression.lora_correction:
        yield Objection(("lora_correction",), "NNCF cannot do it together with gptq; keep one")


def _dataset_objections(compression: CompressionPass) -> Iterator[Objection]:
    has_data, metric = compression.dataset is not None, compression.sensitivity_metric
    mixed = compression.ratio is not None and compression.ratio < 1
    if has_data and not mixed and not any(getattr(compression, name) for name in CORRECTIONS):
        reason = "would be read and not used: nothing here is data-aware (awq, ratio below 1, ...)"
        yield Objection(("dataset",), reason)
    if compression.num_samples is not None and not has_data:
        yield Objection(("num_samples",), "counts samples of a 'dataset', which is not given")
    if metric is not None and not mixed:
        reason = "chooses what keeps more bits, but at ratio 1 nothing does; give a ratio below 1"
        yield Objection(("sensitivity_metric",), reason)
    if metric not in (None, "weight_quantization_error") and not has_data:
        reason = f"{metric} is measured on data; add 'dataset: generated' or a file of yours"
        yield Objection(("sensitivity_metric",), reason)


#: Bytes of a scale, which NNCF stores in f16.
SCALE_BYTES = 2
#: How many weights a message names.
NAMED = 3
#: Powers of two; smaller groups cost more in scales than they save.
GROUP_SIZES = [2**power for power in range(20, 3, -1)]
#: Weights with fewer channels have no groups of any size.
SMALLEST_GROUP = GROUP_SIZES[-1]
#: Where NNCF says which operations its group size does not divide.
REFUSED = re.compile(r'"([^"\n]+)" \(channel size: (\d+)\)')
EMBEDDING = re.compile(r"(embed_tokens|embed_in|embed_positions|wte|wpe|word_embeddings?|embd)\b")
LAST_LAYER = re.compile(r"(^|\.)(lm_head|embed_out|output|score)\b(?!\.dense)")
#: What the exported IR calls a module's operation, after the module's own path.
OPERATIONS = {
    "MatMul": ("/ov_ext::linear/MatMul", "/aten::linear/MatMul", "/aten::matmul/MatMul"),
    "Gather": ("/aten::embedding/Gather", "/ov_ext::embedding/Gather"),
}


def group_size_problems(
    compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
) -> tuple[str, ...]:
    """Return what NNCF would refuse: weights with channels that the group size does not divide.

    Below ratio 1 NNCF itself picks the low-bit weights, without regard to their channels; the
    refusal is only certain, and only made, when too few weights are left to reach the ratio.
    """
    group_size = group_size_of(compression, compression.mode_for(precision))
    if group_size == -1 or compression.group_size_fallback in ("ignore", "adjust"):
        return ()
    low_bit = [
        weight
        for weight in shapes
        if (compression.group_size_fallback or weight.shape[-1] >= SMALLEST_GROUP)
        and (compression.all_layers or not _keeps_backup(weight.name))
        and not _has_no_groups(weight)
        and not _is_ignored(weight.name, compression.ignored_scope)
    ]
    odd = [weight for weight in low_bit if weight.shape[-1] % group_size]
    left_out = 0.0 if compression.ratio is None else _elements(low_bit) * (1 - compression.ratio)
    if _elements(odd) <= left_out:
        return ()
    named = ", ".join(f"{weight.name} ({weight.shape[-1]} channels)" for weight in odd[:NAMED])
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    valid = ", ".join(map(str, valid_group_sizes(low_bit)))
    problem = (
        f"group_size {group_size} does not divide the channels of {named}{more}; group sizes that "
        f"fit every weight: {valid}; or let NNCF adjust it per weight with "
        "'group_size_fallback: adjust'"
    )
    return (problem,)


def without_groups(compression: CompressionPass, refusal: str) -> list[str]:
    """Return the operations that NNCF refused for their group size, if none of them has groups.

    Such are tables of positions that NNCF takes for weights (Cohere, Qwen3.5), of 1 channel, and
    the mixing of Gemma 3n's four streams. A recipe that says `group_size_fallback` has its way.
    """
    found = {name: int(channels) for name, channels in REFUSED.findall(refusal)}
    if compression.group_size_fallback or max(found.values(), default=0) >= SMALLEST_GROUP:
        return []
    return list(found)


def valid_group_sizes(weights: Sequence[WeightShape]) -> list[int]:
    """Return -1 (one group per channel) and the powers of two that divide all channels."""
    common = math.gcd(*(weight.shape[-1] for weight in weights))
    return [-1, *(size for size in GROUP_SIZES if common % size == 0)]


def _elements(weights: Sequence[WeightShape]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _keeps_backup(name: str) -> bool:
    """Return whether a weight is an embedding or the last layer, by its name.

    NNCF keeps them at the backup precision unless `all_layers` is set.
    """
    return bool(EMBEDDING.search(name) or LAST_LAYER.search(name))


def _has_no_groups(weight: WeightShape) -> bool:
    """Return whether NNCF makes no groups of a weight of a layer with a state.

    It gives a convolution of each channel by itself 8 bits, and leaves how fast the states fade
    (Mamba's `A_log`) as it is, for nothing is multiplied by it as by a matrix.
    """
    is_depthwise = len(weight.shape) == 3 and weight.shape[1] == 1
    return is_depthwise or weight.name.endswith("A_log")


def _is_ignored(name: str, scope: IgnoredScope | None) -> bool:
    """Return whether the ignored scope names the operation that this weight belongs to."""
    if scope is None:
        return False
    kind = "Gather" if EMBEDDING.search(name) else "MatMul"
    nodes = [f"__module.{name.removesuffix('.weight')}{end}" for end in OPERATIONS[kind]]
    return (
        kind in scope.types
        or any(node in scope.names for node in nodes)
        or any(re.match(pattern, node) for pattern in scope.patterns for node in nodes)
    )


def compressed_bytes(
    compression: CompressionPass, precision: str, tensors: Sequence[WeightShape]
) -> int:
    """Return the size of the compressed `openvino_model.bin`, within a few per cent."""
    mode = compression.mode_for(precision)
    group_size = group_size_of(compression, mode)
    ratio = 1.0 if compression.ratio is None else compression.ratio
    low_bit = 1.0 if mode in EIGHT_BIT_FLOATS else 0.5
    zero_point = 0.5 if mode == "int4_asym" else 0.0
    size: float = vector_bytes(tensors)
    for weight in (tensor for tensor in tensors if len(tensor.shape) > 1):
        elements, rows = math.prod(weight.shape), math.prod(weight.shape[:-1])
        groups = rows if group_size == -1 else elements / group_size
        # INT8 has a scale and a zero point a row; `none` leaves the weights at 16 bits.
        int8 = elements + (SCALE_BYTES + 1) * rows
        backup = 2 * elements if compression.backup_mode == "none" else int8
        is_kept = is_int8(mode) or (_keeps_backup(weight.name) and not compression.all_layers)
        share = 0.0 if is_kept else ratio
        size += share * (elements * low_bit + groups * (SCALE_BYTES + zero_point))
        size += (1 - share) * backup
    return int(size)


def statistics_bytes(compression: CompressionPass, tensors: Sequence[WeightShape]) -> int:
    """Return what a pass keeps of the base's activations: an f32 for each channel and sample.

    At most, for matrices that read the same share them. What a metric takes is a number a layer.
    """
    if compression.dataset is None or not any(getattr(compression, name) for name in CORRECTIONS):
        return 0
    matrices = [tensor.shape for tensor in tensors if len(tensor.shape) > 1]
    channels = sum(math.prod(shape) // shape[-2] for shape in matrices)
    return 4 * channels * (compression.num_samples or DEFAULT_NUM_SAMPLES)
