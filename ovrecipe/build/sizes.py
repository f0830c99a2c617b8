"""How large a variant's weights will be, from shapes and knobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovrecipe.builtin.nncf_rules import group_size_of, is_int8, keeps_backup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import WeightShape
    from ovrecipe.recipe.compression import CompressionPass, Variant

#: Bytes of a scale, which NNCF stores in f16.
SCALE_BYTES = 2
#: Modes with 8 bits per weight that are not INT8.
EIGHT_BIT_FLOATS = ("mxfp8_e4m3", "fp8_e4m3")


def variant_bytes(
    variant: Variant, tensors: Sequence[WeightShape], matrices: Sequence[WeightShape]
) -> int:
    """Return the size of a variant's `openvino_model.bin`, within a few per cent.

    Vectors (norms, biases) stay as they are; of several passes the last one decides.
    """
    vectors = sum(4 * math.prod(each.shape) for each in tensors if len(each.shape) < 2)
    passes = variant.compression_passes()
    if not passes:
        return vectors + sum(2 * math.prod(each.shape) for each in matrices)
    return vectors + _compressed(passes[-1], variant.precision, matrices)


def _compressed(
    compression: CompressionPass, precision: str, matrices: Sequence[WeightShape]
) -> int:
    mode = compression.mode_for(precision)
    backup = [each for each in matrices if keeps_backup(each.name) and not compression.all_layers]
    primary = [each for each in matrices if each not in backup]
    if is_int8(mode):
        return sum(_int8_bytes(each) for each in matrices)
    ratio = 1.0 if compression.ratio is None else compression.ratio
    low = sum(_low_bit_bytes(each, compression, mode) for each in primary)
    rest = sum(_backup_bytes(each, compression) for each in primary)
    always = sum(_backup_bytes(each, compression) for each in backup)
    return int(ratio * low + (1 - ratio) * rest + always)


def _int8_bytes(each: WeightShape) -> int:
    """One byte a weight, a scale and a zero point a row."""
    return math.prod(each.shape) + (SCALE_BYTES + 1) * math.prod(each.shape[:-1])


def _backup_bytes(each: WeightShape, compression: CompressionPass) -> int:
    return 2 * math.prod(each.shape) if compression.backup_mode == "none" else _int8_bytes(each)


def _low_bit_bytes(each: WeightShape, compression: CompressionPass, mode: str) -> float:
    group_size = group_size_of(compression, mode)
    size = math.prod(each.shape)
    groups = math.prod(each.shape[:-1]) if group_size == -1 else size / group_size
    zero_point = 0.5 if mode == "int4_asym" else 0.0
    weight = 1.0 if mode in EIGHT_BIT_FLOATS else 0.5
    return size * weight + groups * (SCALE_BYTES + zero_point)
