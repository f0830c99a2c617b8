"""The one pass over a base."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import saved, tiny_model
from ovrecipe_budget.measuring import FILE_NAME, LOCK_NAME, measure, measurement_of
from ovrecipe_budget.probe import Probe
from ovrecipe_budget.sensitivity import divergence, measure_sensitivities, probabilities

from ovrecipe.errors import StageError

pytestmark = pytest.mark.filterwarnings("ignore")


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float | None, float | None]] = []

    def __call__(
        self, message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        self.reports.append((message, done, total))


def test_a_tied_embedding_is_one_matrix_with_two_readers(base_dir: Path) -> None:
    """Counted twice, its bytes would be budgeted twice."""
    found = {matrix.nodes: matrix.weights for matrix in measure(base_dir, Recorder()).matrices}
    assert found == {
        ("embedding", "head"): 256 * 64,
        ("up",): 128 * 64,
        ("down",): 64 * 128,
        ("turned",): 64 * 64,
    }


def test_fewer_bits_cost_less_and_err_more(base_dir: Path) -> None:
    """The figures are in the order that everyone expects."""
    for matrix in measure(base_dir, Recorder()).matrices:
        sizes = [
            matrix.formats[name][0] for name in ("int8_asym", "int4_asym_g32", "int4_asym_g64")
        ]
        errors = [
            matrix.formats[name][1] for name in ("int8_asym", "int4_asym_g32", "int4_asym_g64")
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert errors == sorted(errors)
        assert errors[0] > 0


def test_groups_that_do_not_divide_the_channels_are_no_choice(base_dir: Path) -> None:
    """NNCF would refuse them after minutes."""
    formats = {matrix.nodes: matrix.formats for matrix in measure(base_dir, Recorder()).matrices}
    assert "int4_asym_g128" in formats[("down",)]
    assert "int4_asym_g128" not in formats[("up",)]


def test_the_same_base_measures_the_same(base_dir: Path) -> None:
    """The cache key of a variant promises its bytes."""
    assert measure(base_dir, Recorder()) == measure(base_dir, Recorder())


def test_the_second_budget_reuses_the_pass(base_dir: Path, tmp_path: Path) -> None:
    """The pass takes minutes for a large model."""
    first, reused = measurement_of(base_dir, tmp_path / "new", Recorder())
    assert not reused
    said = Recorder()
    assert measurement_of(base_dir, tmp_path / "new", said) == (first, True)
    assert [message for message, _, _ in said.reports] == [
        "looking for sensitivities measured before"
    ]


def test_two_budgets_at_once_share_one_pass(base_dir: Path, tmp_path: Path) -> None:
    """Stages run side by side; the second one waits instead of measuring the same again."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: measurement_of(base_dir, tmp_path, Recorder()), range(2)))
    assert sorted(reused for _, reused in done) == [False, True]
    assert done[0][0] == done[1][0]


@pytest.mark.parametrize("content", [b"", b"{", b'{"other_bytes": 1}', b"\xff"])
def test_a_damaged_file_is_measured_again(content: bytes, base_dir: Path, tmp_path: Path) -> None:
    """A cache must never decide whether a build works."""
    (tmp_path / FILE_NAME).write_bytes(content)
    measured, reused = measurement_of(base_dir, tmp_path, Recorder())
    assert not reused
    assert measurement_of(base_dir, tmp_path, Recorder()) == (measured, True)


def test_nothing_half_written_is_left_or_read(base_dir: Path, tmp_path: Path) -> None:
    """A build may be killed while it writes; the next one begins anew."""
    (tmp_path / FILE_NAME).with_suffix(".partial").write_text('{"other_')
    assert not measurement_of(base_dir, tmp_path, Recorder())[1]
    assert {path.name for path in tmp_path.iterdir()} <= {FILE_NAME, LOCK_NAME}


def test_progress_is_told_to_its_end(base_dir: Path) -> None:
    """A pass of minutes must not look hung."""
    said = Recorder()
    measure(base_dir, said)
    steps = [report[1:] for report in said.reports if report[0] == "measuring sensitivity"]
    assert steps == [(index, 5) for index in range(6)]


def test_knobs_at_zero_change_nothing(base_dir: Path) -> None:
    """What is measured is the base, not the instrument."""
    import openvino as ov

    ids = np.arange(12).reshape(2, 6)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    plain = ov.compile_model(base_dir / "openvino_model.xml", "CPU", exact)
    expected = plain({"input_ids": ids, "attention_mask": ids, "position_ids": ids})["logits"]
    probe = Probe(base_dir)
    assert np.allclose(probe.logits(ids), expected, atol=1e-5)
    noise = np.ones(probe.noise_shape(ids), np.float32)
    alphas = np.array([0, 0, 0, 0, 0.5])
    assert not np.allclose(probe.logits(ids, alphas=alphas, noise=noise), expected, atol=1e-2)


def test_the_expected_divergence_is_about_the_true_one(base_dir: Path) -> None:
    """Noise on the head's output moves the answer as its sensitivity says."""
    probe = Probe(base_dir)
    found = measure_sensitivities(probe, Recorder())["head"]
    ids = np.arange(64).reshape(2, 32)
    noise = np.random.default_rng(3).standard_normal(probe.noise_shape(ids)).astype(np.float32)
    alphas = np.zeros(len(probe.operations))
    alphas[probe.operations.index("head")] = 0.1
    expected = probe.logits(ids)
    fallen = expected - probe.logits(ids, alphas=alphas, noise=noise)
    assert divergence(probabilities(expected), fallen) == pytest.approx(
        found.divergence * 0.01, rel=0.3
    )


def test_a_model_that_reads_more_than_text_is_refused(tmp_path: Path) -> None:
    """There is nothing to show it without data."""
    folder = saved(tiny_model(extra_input="pixel_values"), tmp_path / "base")
    with pytest.raises(StageError, match=r"has the inputs pixel_values, for which there is no"):
        measure(folder, Recorder())
