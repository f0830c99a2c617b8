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
    "as_run_gap": AT_MOST,
    "cosine": AT_LEAST,
    "score_difference": AT_MOST,
    "lost": AT_MOST,
    "layer_lost": AT_MOST,
    "as_run_lost": AT_MOST,
}
#: What is broken exceeds these; what is compressed honestly does not. Mean divergence as a share of
#: the source's information, by precision. Measured with SmolLM2-135M (8.6 nats): honest INT4 0.05,
#: INT8 0.0006, FP16 1e-9; INT4 with 10 % noise on scales 0.23, two layers swapped 0.41, a ninth of
#: the matrices zeroed 0.96.
BROKEN_SHARE: Mapping[str, float] = {"fp16": 0.002, "int8": 0.02, "int4": 0.2}

#: How far GenAI's run of a model may be from an exact run of the same weights (`figures.gap`): its
#: KV cache has 8 bits on a CPU. Measured with SmolLM2-135M: 0.0002 to 0.004; MPT without the biases
#: that stand for positions: above 0.5.
MAX_AS_RUN_GAP = 0.1


class Exceeded(NamedTuple):
    """A figure that is not within its limit."""

    name: str
    figure: float | None
    direction: str
    limit: float

    def __str__(self) -> str:
        shown = "is no number" if self.figure is None else f"is {self.figure:.4g}"
        return f"{self.name} {shown}, {self.direction} {self.limit:g} is accepted"


def limits_of(
    accept: Accept, precision: str, *, information: float, as_run: bool = True
) -> dict[str, float]:
    """Return the limits of a variant: the recipe's, and below what is broken in any case.

    `information` is the source's, in nats (`figures.Figures`); `as_run` says whether GenAI's own
    run of it was compared as well.
    """
    share = BROKEN_SHARE.get(precision, max(BROKEN_SHARE.values()))
    broken, given = share * information, accept.given()
    limits = {**given, "mean_kl": min(given.get("mean_kl", broken), broken)}
    return {**limits, "as_run_gap": MAX_AS_RUN_GAP} if as_run else limits


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
