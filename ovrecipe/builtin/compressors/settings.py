"""From the knobs of a pass to the arguments of `nncf.compress_weights`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
