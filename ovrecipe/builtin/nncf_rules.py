"""Group sizes against the channels of every weight, before anything is exported."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import WeightShape
    from ovrecipe.recipe.compression import CompressionPass, IgnoredScope


#: optimum-cli's `--group-size` when it is left out (and NNCF's own for the other modes).
DEFAULT_GROUP_SIZE = 128
#: Modes whose group size NNCF fixes by itself.
FIXED_GROUP_SIZE = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}
DEFAULT_NUM_SAMPLES = 128


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


def nncf_arguments(compression: CompressionPass, precision: str) -> dict[str, Any]:
    """Return the arguments of `nncf.compress_weights`, all but the model and the data set.

    An unset knob gets what optimum-cli gives for the same weight format.

    Source: prepare_wc_config of optimum-intel 2.2.
    """
    import nncf

    mode = compression.mode_for(precision)
    arguments: dict[str, Any] = {"mode": nncf.CompressWeightsMode(mode)}
    if compression.ignored_scope is not None:
        arguments["ignored_scope"] = _nncf_scope(compression.ignored_scope)
    return arguments if is_int8(mode) else {**arguments, **_low_bit_arguments(compression, mode)}


def _low_bit_arguments(compression: CompressionPass, mode: str) -> dict[str, Any]:
    import nncf

    names = ("all_layers", "awq", "scale_estimation", "gptq", "lora_correction")
    arguments: dict[str, Any] = {name: getattr(compression, name) for name in names}
    arguments["ratio"] = 1.0 if compression.ratio is None else compression.ratio
    if mode not in FIXED_GROUP_SIZE:
        arguments["group_size"] = group_size_of(compression, mode)
    if compression.sensitivity_metric is not None:
        arguments["sensitivity_metric"] = nncf.SensitivityMetric(compression.sensitivity_metric)
    if compression.backup_mode is not None:
        arguments["backup_mode"] = nncf.BackupMode(compression.backup_mode)
    if compression.group_size_fallback is not None:
        arguments["advanced_parameters"] = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode(compression.group_size_fallback)
        )
    return arguments


def _nncf_scope(scope: IgnoredScope) -> Any:
    import nncf

    return nncf.IgnoredScope(
        names=list(scope.names),
        patterns=list(scope.patterns),
        types=list(scope.types),
        validate=scope.validate_,
    )


#: How many weights a message names.
NAMED = 3
#: Smaller groups cost more in scales than they save.
SMALLEST_GROUP = 16
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
    mode = compression.mode_for(precision)
    group_size = group_size_of(compression, mode)
    if is_int8(mode) or group_size == -1 or compression.group_size_fallback in ("ignore", "adjust"):
        return ()
    low_bit = low_bit_weights(compression, shapes)
    odd = [each for each in low_bit if each.shape[-1] % group_size]
    if not odd or _can_be_left_out(odd, low_bit, compression.ratio):
        return ()
    return (_message(group_size, odd, low_bit),)


def low_bit_weights(
    compression: CompressionPass, shapes: Sequence[WeightShape]
) -> list[WeightShape]:
    """Return the weights that may get the primary precision.

    NNCF keeps embeddings and the last layer at the backup precision unless `all_layers` is set.
    """
    return [
        each
        for each in shapes
        if (compression.all_layers or not keeps_backup(each.name))
        and not is_ignored(each.name, compression.ignored_scope)
    ]


def keeps_backup(name: str) -> bool:
    """Return whether a weight is an embedding or the last layer, by its name."""
    return bool(EMBEDDING.search(name) or LAST_LAYER.search(name))


def is_ignored(name: str, scope: IgnoredScope | None) -> bool:
    """Return whether the ignored scope names the operation that this weight belongs to."""
    if scope is None:
        return False
    kind = "Gather" if EMBEDDING.search(name) else "MatMul"
    nodes = [f"__module.{name.removesuffix('.weight')}{each}" for each in OPERATIONS[kind]]
    return (
        kind in scope.types
        or any(node in scope.names for node in nodes)
        or any(re.match(pattern, node) for pattern in scope.patterns for node in nodes)
    )


def _can_be_left_out(
    odd: Sequence[WeightShape], all_of: Sequence[WeightShape], ratio: float | None
) -> bool:
    size = sum(math.prod(each.shape) for each in all_of)
    return ratio is not None and sum(math.prod(e.shape) for e in odd) <= size * (1 - ratio)


def _message(group_size: int, odd: Sequence[WeightShape], low_bit: Sequence[WeightShape]) -> str:
    named = ", ".join(f"{each.name} ({each.shape[-1]} channels)" for each in odd[:NAMED])
    more = f" and {len(odd) - NAMED} more" if len(odd) > NAMED else ""
    valid = ", ".join(map(str, valid_group_sizes(low_bit)))
    return (
        f"group_size {group_size} does not divide the channels of {named}{more}; "
        f"group sizes that fit every weight: {valid}; "
        "or let NNCF adjust it per weight with 'group_size_fallback: adjust'"
    )


def valid_group_sizes(weights: Sequence[WeightShape]) -> list[int]:
    """Return -1 (one group per channel) and the powers of two that divide all channels."""
    common = math.gcd(*(each.shape[-1] for each in weights))
    sizes = []
    size = SMALLEST_GROUP
    while common % size == 0 and size <= common:
        sizes.append(size)
        size *= 2
    return [-1, *reversed(sizes)]
