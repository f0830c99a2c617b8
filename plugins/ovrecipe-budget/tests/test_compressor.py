"""Budgets on the tiny model, up to the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import saved, tiny_model
from ovrecipe_budget import BudgetCompressor

from ovrecipe.errors import StageError
from ovrecipe.hooks.roles import CompressionJob

pytestmark = pytest.mark.filterwarnings("ignore")
JobOf = Callable[..., CompressionJob]


def compress(job: CompressionJob) -> dict[str, Any]:
    return dict(BudgetCompressor().compress(job))


def weights_of(job: CompressionJob) -> bytes:
    return (job.output_dir / "openvino_model.bin").read_bytes()


@pytest.mark.parametrize("bits", [4.6, 5.0, 6.5, 8.4, 12.0, 40.0])
def test_the_file_fits_the_budget(bits: float, job_of: JobOf) -> None:
    """Scales, zero points and all."""
    job = job_of(bits_per_weight=bits)
    facts = compress(job)
    assert len(weights_of(job)) == facts["size_bytes"] <= facts["limit_bytes"]
    assert facts["bits_per_weight"] <= bits


def test_a_larger_budget_is_expected_to_be_better(job_of: JobOf) -> None:
    """And with room for everything nothing is rounded at all."""
    found = [
        compress(job_of(str(bits), bits_per_weight=bits))["expected_divergence"]
        for bits in (4.6, 5.5, 8.5, 17.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2] > found[3] == 0


def test_two_runs_write_the_same_bytes(job_of: JobOf) -> None:
    """The cache key promises the content; measured or reused, it is the same.

    The XML's automatic names count on within a process, and stages have processes of their own.
    """
    first, second = job_of("first", bits_per_weight=5.5), job_of("second", bits_per_weight=5.5)
    assert compress(first)["sensitivity"] == "measured"
    assert compress(second)["sensitivity"] == "reused"
    assert weights_of(first) == weights_of(second)


def test_precisions_are_mixed_and_counted(job_of: JobOf) -> None:
    """The facts say what a user would look for in the IR."""
    layers = compress(job_of(bits_per_weight=5.5))["layers"]
    assert sum(layers.values()) == 4
    assert len(layers) > 1


def test_an_int8_variant_has_no_layer_below(job_of: JobOf) -> None:
    """The precision is a promise."""
    layers = compress(job_of(bits_per_weight=9.0, precision="int8"))["layers"]
    assert set(layers) <= {"int8_asym", "kept"}


def test_an_impossible_budget_is_refused_with_the_smallest_one(job_of: JobOf) -> None:
    """And what the message proposes can be built."""
    with pytest.raises(
        StageError, match=r"max_size_mb: 0\.015 is too small: .* possible"
    ) as caught:
        compress(job_of(max_size_mb=0.015))
    bits = float(caught.value.message.split(" MB, ")[1].split(" bits")[0])
    job = job_of("smallest", bits_per_weight=bits)
    compress(job)
    assert len(weights_of(job)) * 8 / 36_864 <= bits


def test_a_second_pass_is_refused(job_of: JobOf, tmp_path: Path) -> None:
    """What an earlier pass compressed is not in the measurement of the base."""
    job = job_of(bits_per_weight=5.5, input_dir=tmp_path)
    with pytest.raises(StageError, match="chooses for all layers at once"):
        compress(job)


def test_without_a_cache_it_measures_each_time(job_of: JobOf) -> None:
    """Outside of a store there is no place to keep anything."""
    for name in ("one", "two"):
        job = job_of(name, bits_per_weight=5.5, cache_dir=None)
        assert compress(job)["sensitivity"] == "measured"


def test_facts_are_plain_json(job_of: JobOf) -> None:
    """They go into the manifest."""
    facts = compress(job_of(bits_per_weight=5.5))
    assert json.loads(json.dumps(facts)) == facts


def test_the_base_is_only_read(job_of: JobOf, base_dir: Path) -> None:
    """Published artifacts are read-only, and other variants are made from it."""
    before = {path.name: path.read_bytes() for path in base_dir.iterdir()}
    compress(job_of(bits_per_weight=5.5))
    assert {path.name: path.read_bytes() for path in base_dir.iterdir()} == before


def test_an_f32_base_can_have_a_budget(tmp_path: Path, job_of: JobOf) -> None:
    """Not every checkpoint is in half precision."""
    import numpy as np
    import openvino as ov
    import openvino.opset13 as ops

    model = tiny_model()
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.f16:
            wide = ops.constant(node.get_data(dtype=np.float32), name=node.get_friendly_name())
            [reader] = node.output(0).get_target_inputs()
            for target in reader.get_node().output(0).get_target_inputs():
                target.replace_source_output(wide.output(0))
    folder = saved(model, tmp_path / "f32")
    job = job_of(bits_per_weight=6.0, cache_dir=None)
    job = CompressionJob(**{**vars(job), "base_dir": folder, "input_dir": folder})
    assert compress(job)["bits_per_weight"] <= 6
