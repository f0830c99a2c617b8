"""What providers say that their work takes, from shapes alone."""

from __future__ import annotations

from typing import Any

import pytest

from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.builtin.fp16 import Fp16Compressor
from ovrecipe.builtin.ir import SMALL_FILES_BYTES
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.recipe.compression import CompressionPass

ROWS, COLUMNS = 1000, 1280
WEIGHTS = ROWS * COLUMNS
SHAPES = [
    WeightShape("model.embed_tokens.weight", (ROWS, COLUMNS), "bf16"),
    WeightShape("model.layers.0.mlp.up_proj.weight", (ROWS, COLUMNS), "bf16"),
    WeightShape("model.norm.weight", (COLUMNS,), "f32"),
]
NORM_BYTES = 4 * COLUMNS
INT8_BYTES = WEIGHTS + 3 * ROWS
INT4_BYTES = WEIGHTS / 2 + WEIGHTS / 128 * 2.5


def weights_bytes(precision: str, **knobs: Any) -> int:
    """Return the size of NNCF's weights, without what every model has beside them."""
    needed = NncfCompressor().estimate(CompressionPass(**knobs), precision, SHAPES)
    return needed.disk_bytes - SMALL_FILES_BYTES - NORM_BYTES


@pytest.mark.parametrize(
    ("precision", "knobs", "expected"),
    [
        ("int8", {}, 2 * INT8_BYTES),
        ("int4", {}, INT4_BYTES + INT8_BYTES),
        ("int4", {"all_layers": True}, 2 * INT4_BYTES),
        ("int4", {"ratio": 0.5}, 0.5 * INT4_BYTES + 1.5 * INT8_BYTES),
        ("int4", {"backup_mode": "none"}, INT4_BYTES + 2 * WEIGHTS),
        ("int4", {"sym": True, "group_size": -1}, WEIGHTS / 2 + 2 * ROWS + INT8_BYTES),
        ("mxfp8_e4m3", {}, WEIGHTS + WEIGHTS / 32 * 2 + INT8_BYTES),
    ],
)
def test_nncfs_result_is_as_large_as_its_knobs_say(
    precision: str, knobs: dict[str, Any], expected: float
) -> None:
    """A build that does not fit is refused by this figure, one that fits must not be."""
    assert weights_bytes(precision, **knobs) == pytest.approx(expected, abs=1)


def test_a_data_set_takes_the_base_into_memory() -> None:
    """NNCF runs the model to see activations."""
    plain = NncfCompressor().estimate(CompressionPass(), "int4", SHAPES)
    read = NncfCompressor().estimate(CompressionPass(dataset="generated"), "int4", SHAPES)
    assert read.memory_bytes - plain.memory_bytes == 2 * 2 * WEIGHTS + NORM_BYTES
    assert read.disk_bytes == plain.disk_bytes


def test_activations_of_each_sample_are_kept_on_the_disk() -> None:
    """AWQ reads a mean of each channel, by default of 128 samples; a metric needs hardly any."""
    knobs = {"dataset": "generated", "awq": True}
    plain = weights_bytes("int4")
    assert weights_bytes("int4", **knobs) - plain == 2 * 4 * COLUMNS * 128
    assert weights_bytes("int4", **knobs, num_samples=5) - plain == 2 * 4 * COLUMNS * 5
    assert weights_bytes("int4", dataset="generated", ratio=0.5) < plain * 1.5


def test_fp16_needs_room_for_the_scratch_file_of_bf16_weights() -> None:
    """It is as large as the result, and gone at the end."""
    bf16 = Fp16Compressor().estimate(CompressionPass(), "fp16", SHAPES)
    floats = [WeightShape(shape.name, shape.shape, "f32") for shape in SHAPES]
    f32 = Fp16Compressor().estimate(CompressionPass(), "fp16", floats)
    assert f32.disk_bytes == 2 * 2 * WEIGHTS + NORM_BYTES + SMALL_FILES_BYTES
    assert bf16.disk_bytes - f32.disk_bytes == 2 * 2 * WEIGHTS


def test_an_export_writes_the_checkpoints_own_dtype_and_maps_it() -> None:
    """Memory does not grow with the model."""
    small, large = OptimumExporter().estimate(SHAPES[2:]), OptimumExporter().estimate(SHAPES)
    assert large.disk_bytes - small.disk_bytes == 2 * 2 * WEIGHTS
    assert large.memory_bytes == small.memory_bytes
