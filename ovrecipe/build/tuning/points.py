"""The points that `tune` and `sweep` try: settings of a variant, some coarser than others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.schema import Variant

#: Which points are searched where nobody names others.
GROUP_SIZES = (32, 64, 128, -1)
RATIOS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
BITS_PER_WEIGHT = (4.25, 4.5, 4.75, 5.0, 5.5, 6.0, 6.5, 7.0)
#: What a point decides; a variant's other keys stay as they are.
SEARCHED = (
    "compressor", "options", "mode", "sym", "group_size", "ratio", "awq", "scale_estimation",
)  # fmt: skip
#: Keys of a pass that mean something only beside others.
OF_DATA = ("dataset", "num_samples")
CORRECTIONS = ("awq", "scale_estimation")
OTHER_CORRECTIONS = ("gptq", "lora_correction")
#: The compressor of per-layer budgets, a plugin's.
BUDGET = "budget"


@dataclass(frozen=True)
class Choices:
    """Lists of values; a point is one of each. `bits_per_weight` are budgets, points by themselves.

    None leaves a knob as the variant has it.
    """

    group_size: Sequence[int] | None = None
    ratio: Sequence[float] | None = None
    sym: Sequence[bool] | None = None
    awq: Sequence[bool] | None = None
    scale_estimation: Sequence[bool] | None = None
    bits_per_weight: Sequence[float] = ()


@dataclass(frozen=True)
class Point:
    """One setting: its name, the knobs that the recipe would say, and the variant with them."""

    name: str
    knobs: Mapping[str, Any]
    variant: Variant

    @property
    def corrections(self) -> tuple[str, ...]:
        """What mends the weights after rounding, or before."""
        return tuple(name for name in CORRECTIONS if self.knobs.get(name))

    @property
    def bits_per_weight(self) -> float | None:
        """The budget, for a point that is one."""
        return (self.knobs.get("options") or {}).get("bits_per_weight")

    def is_coarser_than(self, other: Point, *, corrected: bool = False) -> bool:
        """Return whether no knob is finer than the other's and one is coarser.

        A larger group, a larger share of INT4, no zero point and a smaller budget are coarser.
        Points with other corrections are not compared, unless `corrected` ignores them.
        """
        if self == other or (not corrected and self.corrections != other.corrections):
            return False
        mine, others = self.bits_per_weight, other.bits_per_weight
        if mine is not None or others is not None:
            return mine is not None and others is not None and mine < others
        return all(
            one >= two for one, two in zip(_coarseness(self), _coarseness(other), strict=True)
        )


def _coarseness(point: Point) -> tuple[float, float, bool]:
    group_size = point.knobs["group_size"]
    return (
        math.inf if group_size == -1 else group_size,
        point.knobs["ratio"],
        point.knobs["sym"],
    )


def points_of(variant: Variant, choices: Choices) -> list[Point]:
    """Return the points of a search that begins at a variant, each once."""
    lists = (
        _listed(choices.group_size, variant.group_size, 128),
        _listed(choices.ratio, variant.ratio, 1.0),
        _listed(choices.sym, variant.mode_for(variant.precision) == "int4_sym", default=False),
        _listed(choices.awq, variant.awq, default=False),
        _listed(choices.scale_estimation, variant.scale_estimation, default=False),
    )
    names = ("group_size", "ratio", "sym", "awq", "scale_estimation")
    found = [
        _grid_point(variant, dict(zip(names, values, strict=True))) for values in product(*lists)
    ]
    found += [_budget_point(variant, bits) for bits in choices.bits_per_weight]
    return list({point.name: point for point in found}.values())


def _listed(given: Sequence[Any] | None, own: Any, default: Any) -> Sequence[Any]:
    return given if given is not None else (default if own is None else own,)


def _grid_point(variant: Variant, values: Mapping[str, Any]) -> Point:
    # An unset correction is one that is left out.
    knobs = {name: value for name, value in values.items() if value or name not in CORRECTIONS}
    group_size = knobs["group_size"]
    parts = [
        variant.precision,
        "sym" if knobs["sym"] else "asym",
        "row" if group_size == -1 else f"g{group_size}",
        f"r{knobs['ratio']:g}",
        *(name.split("_")[0] for name in CORRECTIONS if name in knobs),
    ]
    kept = _kept(variant, mixed=knobs["ratio"] < 1, is_corrected=bool({*CORRECTIONS} & {*knobs}))
    return Point("-".join(parts), knobs, _changed(variant, knobs, kept))


def _budget_point(variant: Variant, bits: float) -> Point:
    knobs = {"compressor": BUDGET, "options": {"bits_per_weight": bits}}
    return Point(f"{variant.precision}-budget-{bits:g}", knobs, _changed(variant, knobs, set()))


def _kept(variant: Variant, *, mixed: bool, is_corrected: bool) -> set[str]:
    """Return the keys of a variant's pass that a point keeps: those that still mean something."""
    given = {name for name in CompressionPass.model_fields if getattr(variant, name) is not None}
    kept = (given & variant.model_fields_set) - {*SEARCHED}
    reads_data = mixed or is_corrected or any(getattr(variant, name) for name in OTHER_CORRECTIONS)
    return kept - {*(() if reads_data else OF_DATA), *(() if mixed else ("sensitivity_metric",))}


def _changed(variant: Variant, knobs: Mapping[str, Any], kept: set[str]) -> Variant:
    """Return the variant with these knobs as its only pass, and what it keeps of its own."""
    fields = {*Variant.model_fields} - {*CompressionPass.model_fields} | kept
    own = variant.model_dump(by_alias=True, exclude_unset=True, include=fields)
    return Variant.model_validate({**own, **knobs})
