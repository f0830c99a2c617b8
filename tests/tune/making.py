"""Points, and figures made up for them, for the tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ovrecipe.build.tuning.bounds import Candidate, Found
from ovrecipe.build.tuning.points import Choices, Point, points_of
from ovrecipe.measure.speed import Summary, summary_of
from ovrecipe.measure.verdict import exceeded
from ovrecipe.recipe.schema import Variant

#: Figures of a point.
Kl = Callable[[Point], float]


def variant(**knobs: Any) -> Variant:
    return Variant.model_validate({"precision": "int4", **knobs})


def points(**choices: Any) -> list[Point]:
    return points_of(variant(), Choices(**choices))


def point(**knobs: Any) -> Point:
    [found] = points(**{name: (value,) for name, value in knobs.items()})
    return found


def size_of(one: Point) -> int:
    """Bits of a thousand weights: what knobs say of the size, as an estimate would."""
    if one.bits_per_weight is not None:
        return int(one.bits_per_weight * 1000)
    group_size = 10**6 if one.knobs["group_size"] == -1 else one.knobs["group_size"]
    low = 4 + (16 if one.knobs["sym"] else 20) / group_size
    return int(1000 * (one.knobs["ratio"] * low + (1 - one.knobs["ratio"]) * 8))


def candidates(found: Sequence[Point]) -> list[Candidate]:
    return sorted(
        (Candidate(one, size_of(one)) for one in found), key=lambda one: one.estimated_bytes
    )


def measured(
    one: Point, mean_kl: float, *, limit: float = 0.1, warning: str | None = None
) -> Found:
    quality = {"mean_kl": mean_kl, "mean_kl_error": 0.01, "same_top": 0.9, "perplexity_ratio": 1.0,
               "size_ratio": 0.3}  # fmt: skip
    return Found(
        candidate=Candidate(one, size_of(one)),
        size_bytes=size_of(one),
        quality=quality,
        exceeded=tuple(exceeded(quality, {"mean_kl": limit})),
        warning=warning,
    )


def confirmed(one: Found, mean_kl: float | None = None, *, limit: float = 0.1) -> Found:
    """Give a point figures along a longer text: those that it has, or others."""
    longer = {**one.quality, "tokens": 2048}
    if mean_kl is None:
        return replace(one, longer=longer)
    longer |= {"mean_kl": mean_kl, "mean_kl_error": 0.002}
    return replace(one, longer=longer, exceeded=tuple(exceeded(longer, {"mean_kl": limit})))


def speed(*tokens_a_second: float) -> Summary:
    return summary_of(tokens_a_second)
