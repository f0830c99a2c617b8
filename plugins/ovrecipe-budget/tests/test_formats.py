"""The bytes and errors of a precision are those of what NNCF writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import saved, tiny_model
from ovrecipe_budget.applying import write_compressed
from ovrecipe_budget.formats import FORMATS, Format
from ovrecipe_budget.matrices import find_matrices

# NNCF and OpenVINO warn about their own code.
pytestmark = pytest.mark.filterwarnings("ignore")


def matrix(name: str) -> Any:
    """Return a matrix of the tiny model; the model is kept alive by its nodes."""
    return next(found for found in find_matrices(tiny_model()) if name in found.node_names)


def silent(
    message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
) -> None: ...


def dequantized(folder: Path, name: str) -> Any:
    """Return the weights that an operation gets from a compressed IR, as f32."""
    import openvino as ov

    model = ov.Core().read_model(folder / "openvino_model.xml")
    node = next(found for found in model.get_ops() if found.get_friendly_name() == name)
    alone = ov.Model([node.input_value(1).get_node()], [], "weights")
    return ov.compile_model(alone, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({})[0]


@pytest.mark.parametrize("precision", FORMATS, ids=lambda precision: precision.name)
def test_the_error_is_that_of_nncfs_weights(
    precision: Format, base_dir: Path, tmp_path: Path
) -> None:
    """Else the choice would be made on figures of another quantizer."""
    down = matrix("down")
    write_compressed(base_dir, tmp_path, {precision.name: ["down"]}, silent)
    rounded = dequantized(tmp_path, "down")
    written = float(np.square(rounded - down.values()).sum())
    expected = precision.error(down.values(), np.ones(down.shape[1], np.float32))
    # NNCF keeps scales in f16.
    assert written == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("precision", FORMATS, ids=lambda precision: precision.name)
def test_the_size_is_that_of_nncfs_file(precision: Format, base_dir: Path, tmp_path: Path) -> None:
    """A budget is kept by arithmetic, not by trying."""
    down = matrix("down")
    size = write_compressed(base_dir, tmp_path, {precision.name: ["down"]}, silent)
    before = (base_dir / "openvino_model.bin").stat().st_size
    # A few bytes are shapes and alignment.
    expected = before - down.size_bytes + precision.size_bytes(*down.shape)
    assert size == pytest.approx(expected, abs=128)


def test_columns_with_more_power_count_more() -> None:
    """An error on a channel that carries nothing does no harm."""
    weight = np.random.default_rng(1).standard_normal((16, 64)).astype(np.float32)
    power = np.zeros(64, np.float32)
    assert Format(4, 32).error(weight, power) == 0
    power[3] = 2
    half = power / 2
    assert Format(4, 32).error(weight, power) == pytest.approx(
        2 * Format(4, 32).error(weight, half)
    )


def test_rows_without_weights_make_no_error() -> None:
    """Vocabularies are padded with rows of zeros."""
    zeros = np.zeros((4, 64), np.float32)
    power = np.ones(64, np.float32)
    errors = [precision.error(zeros, power) for precision in FORMATS if precision.fits(64)]
    assert errors == [0.0] * 4


def test_a_transposed_matrix_has_rows_of_outputs(tmp_path: Path) -> None:
    """GPT-2 stores inputs first; groups lie along the inputs all the same."""
    base_dir = saved(tiny_model(), tmp_path / "base")
    (tmp_path / "out").mkdir()
    turned = matrix("turned")
    write_compressed(base_dir, tmp_path / "out", {"int4_asym_g32": ["turned"]}, silent)
    rounded = dequantized(tmp_path / "out", "turned").T
    written = float(np.square(rounded - turned.values()).sum())
    expected = Format(4, 32).error(turned.values(), np.ones(64, np.float32))
    assert written == pytest.approx(expected, rel=0.02)
