"""The measurement of a base: what each precision of each matrix costs in bytes and divergence.

It depends on the base alone, so it is kept in the cache of the job for the next budget.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ovrecipe_budget.formats import FORMATS, KEPT
from ovrecipe_budget.knapsack import Choice
from ovrecipe_budget.matrices import IR_BIN, IR_XML, find_matrices

if TYPE_CHECKING:
    from ovrecipe.types import Progress
    from ovrecipe_budget.matrices import Matrix
    from ovrecipe_budget.sensitivity import Sensitivity

FILE_NAME = "measurement.json"
LOCK_NAME = ".lock"
#: Digits of an error that are kept: more would differ between two processors.
DIGITS = 5


class Measured(BaseModel):
    """One matrix: its size as it is, and (bytes, error) of each precision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: tuple[str, ...]
    weights: int
    kept_bytes: int
    formats: dict[str, tuple[int, float]]

    def choices(self, allowed: Collection[str]) -> list[Choice]:
        """Return what the matrix may become: one of `allowed`, or what it is."""
        made = [Choice(*self.formats[name], name) for name in self.formats if name in allowed]
        return [*made, Choice(self.kept_bytes, 0.0, KEPT)]


class Measurement(BaseModel):
    """A base: its matrices, and the bytes of everything else in its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    other_bytes: int
    matrices: tuple[Measured, ...]

    @property
    def weights(self) -> int:
        """The number of weights in all matrices."""
        return sum(matrix.weights for matrix in self.matrices)


def measurement_of(
    base_dir: Path, cache_dir: Path | None, progress: Progress
) -> tuple[Measurement, bool]:
    """Return the measurement of a base, and whether it was there already.

    What is read from the cache is checked; a damaged file is measured again. When two budgets of
    a base are built at once, one measures and the other waits for it.

    Raises:
        StageError: the model reads something besides text.
    """
    if cache_dir is None:
        return measure(base_dir, progress), False
    from filelock import FileLock

    cache_dir.mkdir(parents=True, exist_ok=True)
    progress("looking for sensitivities measured before")
    with FileLock(cache_dir / LOCK_NAME):
        known = _read(cache_dir / FILE_NAME)
        if known is not None:
            return known, True
        measurement = measure(base_dir, progress)
        _write(cache_dir / FILE_NAME, measurement)
    return measurement, False


def measure(base_dir: Path, progress: Progress) -> Measurement:
    """Return the measurement of a base IR, without any data of the user's.

    Raises:
        StageError: the model reads something besides text.
    """
    import openvino as ov

    from ovrecipe_budget.probe import Probe
    from ovrecipe_budget.sensitivity import measure_sensitivities

    progress("compiling the base IR to measure it")
    sensitivities = measure_sensitivities(Probe(base_dir), progress)
    matrices = find_matrices(ov.Core().read_model(base_dir / IR_XML))
    measured = []
    for index, matrix in enumerate(matrices):
        progress("rounding every matrix to every precision", done=index, total=len(matrices))
        measured.append(_measured(matrix, sensitivities))
    size = (base_dir / IR_BIN).stat().st_size
    other_bytes = size - sum(matrix.size_bytes for matrix in matrices)
    return Measurement(other_bytes=other_bytes, matrices=tuple(measured))


def _measured(matrix: Matrix, sensitivities: Mapping[str, Sensitivity]) -> Measured:
    """Return the errors of a matrix: the divergence that each rounding is expected to make."""
    import numpy as np

    rows, channels = matrix.shape
    values = matrix.values()
    total = float(np.square(values, dtype=np.float64).sum()) or 1.0
    weighting = np.zeros(channels, np.float32)
    for name in matrix.node_names:
        known = sensitivities[name]
        power = np.full(channels, 1 / total) if known.power is None else known.power
        weighting += known.divergence * power
    formats = {
        precision.name: (
            precision.size_bytes(rows, channels),
            float(f"{precision.error(values, weighting):.{DIGITS}g}"),
        )
        for precision in FORMATS
        if precision.fits(channels)
    }
    return Measured(
        nodes=matrix.node_names,
        weights=rows * channels,
        kept_bytes=matrix.size_bytes,
        formats=formats,
    )


def _read(path: Path) -> Measurement | None:
    try:
        return Measurement.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(path: Path, measurement: Measurement) -> None:
    """Write the file whole or not at all; the build may be killed at any moment."""
    partial = path.with_suffix(".partial")
    partial.write_text(measurement.model_dump_json(indent=1), encoding="utf-8")
    partial.replace(path)
