"""The provider that ovrecipe calls: what it refuses, and the route from a budget to a file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ovrecipe.errors import StageError
from ovrecipe_budget.formats import KEPT, formats_for
from ovrecipe_budget.knapsack import choose, smallest_bytes
from ovrecipe_budget.options import MB, Options

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import CompressionJob, CompressionPass, WeightShape
    from ovrecipe.types import Json
    from ovrecipe_budget.knapsack import Choice
    from ovrecipe_budget.measuring import Measured, Measurement

NAME = "budget"
PRECISIONS = ("int8", "int4")
#: How often a file that came out too large is made again with less.
ATTEMPTS = 3
#: How much larger than expected a file may be: alignment, and constants that NNCF adds.
TOLERANCE = 1.01


class BudgetCompressor:
    """Chooses the precision of every matrix so that the file fits and the answers move least.

    The variant's precision is the lowest that a matrix may get.
    """

    packages = ("nncf", "openvino")
    version = 1
    options_model = Options
    knobs: tuple[str, ...] = ()

    def problems(
        self, compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
    ) -> Sequence[str]:
        """Return NNCF's knobs, precisions and budgets that cannot be honoured."""
        found = [
            f"{name}: 'compressor: {NAME}' chooses this itself; remove it"
            for name in type(compression).model_fields
            if name not in ("compressor", "options") and getattr(compression, name) is not None
        ]
        if precision not in PRECISIONS:
            found.append(f"{NAME} makes {' and '.join(PRECISIONS)} variants, not {precision}")
            return found
        # ovrecipe has validated them at their place in the recipe.
        options = Options.model_validate(dict(compression.options))
        return [*found, *(_impossible(options, precision, shapes) if shapes else ())]

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write the IR; facts are what was chosen.

        Raises:
            StageError: no choice fits; the message has the smallest size that is possible.
        """
        from ovrecipe_budget.measuring import measurement_of

        if job.input_dir != job.base_dir:
            raise StageError(
                f"'compressor: {NAME}' chooses for all layers at once and reads the base IR",
                remedy="make it the only pass of the variant",
            )
        options = job.options
        assert isinstance(options, Options), "validated before"
        measurement, reused = measurement_of(job.base_dir, job.cache_dir, job.progress)
        chosen, size_bytes = _write_within(job, options, measurement)
        return {
            "size_bytes": size_bytes,
            "limit_bytes": options.limit_bytes(measurement.weights),
            "bits_per_weight": round(size_bytes * 8 / measurement.weights, 3),
            "layers": _counted(chosen),
            "expected_divergence": float(f"{sum(choice.error for choice in chosen):.4g}"),
            "sensitivity": "reused" if reused else "measured",
        }


def _write_within(
    job: CompressionJob, options: Options, measurement: Measurement
) -> tuple[list[Choice], int]:
    """Choose and write until the file fits, which it does at once unless NNCF wrote more.

    Raises:
        StageError: no choice fits, or NNCF did not do as it was told.
    """
    limit = options.limit_bytes(measurement.weights)
    allowed = {precision.name for precision in formats_for(job.precision)}
    matrices = [matrix.choices(allowed) for matrix in measurement.matrices]
    other_bytes = measurement.other_bytes
    for _ in range(ATTEMPTS):
        if smallest_bytes(matrices) + other_bytes > limit:
            break
        chosen = choose(matrices, limit - other_bytes)
        size = _written(job, measurement, chosen)
        if size <= limit:
            return chosen, size
        other_bytes += size - limit
    raise _too_small(options, smallest_bytes(matrices) + other_bytes, measurement.weights)


def _written(job: CompressionJob, measurement: Measurement, chosen: Sequence[Choice]) -> int:
    """Write what was chosen and return the size of the file.

    Raises:
        StageError: NNCF did not do as it was told.
    """
    from ovrecipe_budget.applying import write_compressed

    by_format = _by_format(measurement.matrices, chosen)
    size = write_compressed(job.base_dir, job.output_dir, by_format, job.progress)
    expected = sum(choice.size_bytes for choice in chosen) + measurement.other_bytes
    if size > expected * TOLERANCE:
        raise StageError(
            f"NNCF wrote {size / MB:.1f} MB where {expected / MB:.1f} MB were chosen: it left "
            "weights of this model as they were",
            remedy="use 'compressor: nncf', and tell the maintainers of ovrecipe-budget",
        )
    return size


def _too_small(options: Options, smallest_bytes: int, weights: int) -> StageError:
    # Rounded up, so that what is proposed can be had.
    size = math.ceil(smallest_bytes / MB * 10) / 10
    bits = math.ceil(smallest_bytes * 8 / weights * 1000) / 1000
    return StageError(
        f"{options.asked()} is too small: the smallest possible are {size:g} MB, "
        f"{bits:g} bits per weight",
        remedy="raise it to that at least",
    )


def _by_format(
    matrices: Sequence[Measured], chosen: Sequence[Choice]
) -> Mapping[str, Sequence[str]]:
    """Return the operations by the precision chosen for them."""
    found: dict[str, list[str]] = {}
    for matrix, choice in zip(matrices, chosen, strict=True):
        if choice.name != KEPT:
            found.setdefault(choice.name, []).extend(matrix.nodes)
    return found


def _counted(chosen: Sequence[Choice]) -> dict[str, Json]:
    """Return how many matrices have each precision."""
    return dict(sorted(Counter(choice.name for choice in chosen).items()))


def _impossible(options: Options, precision: str, shapes: Sequence[WeightShape]) -> list[str]:
    """Return why a budget cannot be kept, as far as shapes alone say so.

    The largest matrix may be tied to another one of its shape and then counts once; what is in
    the file besides matrices is not counted. The rest is known after measuring.
    """
    matrices = [math.prod(weight.shape) for weight in shapes if len(weight.shape) == 2]
    largest = max(matrices, default=0)
    weights = sum(matrices) - (largest if matrices.count(largest) > 1 else 0)
    bits = int(precision.removeprefix("int"))
    least = weights * bits // 8
    if options.limit_bytes(weights) >= least:
        return []
    size = f"at {bits} bits the weights alone take {least / MB:.1f} MB"
    return [f"options: {options.asked()} is too small: {size}"]
