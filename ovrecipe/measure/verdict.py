"""What a variant may differ from its source by, and what exceeds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Accept

#: Which way a figure may go: up to its limit, or down to it.
AT_MOST, AT_LEAST = "at most", "at least"
DIRECTIONS: Mapping[str, str] = {
    "mean_kl": AT_MOST,
    "same_top": AT_LEAST,
    "perplexity_ratio": AT_MOST,
    "size_ratio": AT_MOST,
}
#: What is broken exceeds these; what is compressed honestly does not. Mean divergence in nats, by
#: the first part of the precision. Measured with SmolLM2-135M: honest INT4 0.37, INT8 0.004, FP16
#: 1e-8; scales of INT4 with 10 % noise 2.0, two layers swapped 3.5, a ninth of them zeroed 8.2.
BROKEN_MEAN_KL: Mapping[str, float] = {"fp16": 0.02, "int8": 0.1, "int4": 1.5}


class Exceeded(NamedTuple):
    """A figure that is not within its limit."""

    name: str
    figure: float | None
    direction: str
    limit: float

    def __str__(self) -> str:
        shown = "is no number" if self.figure is None else f"is {self.figure:.4g}"
        return f"{self.name} {shown}, {self.direction} {self.limit:g} is accepted"


def limits_of(accept: Accept, precision: str) -> dict[str, float]:
    """Return the limits of a variant: the recipe's, above what is broken in any case."""
    broken = BROKEN_MEAN_KL.get(precision, max(BROKEN_MEAN_KL.values()))
    given = accept.given()
    return {**given, "mean_kl": min(given.get("mean_kl", broken), broken)}


def exceeded(figures: Mapping[str, Any], limits: Mapping[str, float]) -> Iterator[Exceeded]:
    """Yield what is beyond its limit; a figure that is missing was no number."""
    for name, limit in limits.items():
        figure = figures.get(name)
        direction = DIRECTIONS[name]
        within = figure is not None and (
            figure <= limit if direction == AT_MOST else figure >= limit
        )
        if not within:
            yield Exceeded(name, figure, direction, limit)
