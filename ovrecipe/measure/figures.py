"""How far log-probabilities are from a reference: divergence, same top token, perplexity."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ovrecipe.measure.reference import log_softmax

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.measure.reference import Reference
    from ovrecipe.types import Json


@dataclass(frozen=True)
class Figures:
    """A model against its source, over `tokens` places.

    `mean_kl` is the divergence of Kullback and Leibler from the source, in nats, averaged over the
    places (the source's likeliest tokens one by one, all others as one); `same_top` the share of
    places with the same likeliest token; `perplexity_ratio` the model's perplexity of the texts
    over the source's own. A figure with `_error` is a standard error.
    """

    mean_kl: float
    mean_kl_error: float
    same_top: float
    perplexity_ratio: float
    perplexity_ratio_error: float
    tokens: int

    @property
    def is_finite(self) -> bool:
        """Whether the model's logits were numbers."""
        return math.isfinite(self.mean_kl)

    def facts(self) -> dict[str, Json]:
        """Return what a manifest keeps; JSON has no NaN, so what is none is left out."""
        found = asdict(self)
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in found.items()
            if math.isfinite(value)
        }


def compared(reference: Reference, logits: Iterable[NDArray[np.float32]]) -> Figures:
    """Return the figures of a model; `logits` are each row's, (length, vocabulary)."""
    import numpy as np

    divergences, same, gains = [], [], []
    for row, found in enumerate(logits):
        places = log_softmax(found[:-1]).astype(np.float64)
        ids, expected = reference.top_ids[row], reference.top[row].astype(np.float64)
        at_top = np.take_along_axis(places, ids.astype(np.int64), axis=-1)
        divergence = (np.exp(expected) * (expected - at_top)).sum(axis=-1)
        divergences.append(divergence + _of_the_rest(expected, at_top))
        same.append(places.argmax(axis=-1) == ids[:, 0])
        following = reference.tokens[row, 1:, None]
        chosen = np.take_along_axis(places, following, axis=-1)[:, 0]
        gains.append(reference.chosen[row] - chosen)
    divergence, gain = np.concatenate(divergences), np.concatenate(gains)
    ratio = float(np.exp(gain.mean()))
    return Figures(
        mean_kl=float(divergence.mean()),
        mean_kl_error=_standard_error(divergence),
        same_top=float(np.concatenate(same).mean()),
        perplexity_ratio=ratio,
        perplexity_ratio_error=ratio * _standard_error(gain),
        tokens=len(divergence),
    )


def _of_the_rest(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the tokens outside the top add to the divergence, taken as one token."""
    import numpy as np

    mass = np.clip(1 - np.exp(expected).sum(axis=-1), 0, None)
    # What rounding leaves of a whole vocabulary is no mass, and float32 sums are good to 1e-6.
    mass = np.where(mass < 1e-6, 0, mass)
    other = np.clip(1 - np.exp(found).sum(axis=-1), 1e-12, None)
    rest: NDArray[np.float64] = mass * (np.log(np.where(mass > 0, mass, 1)) - np.log(other))
    return rest


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std() / math.sqrt(len(values)))


def perplexity_ratio(reference: Reference, log_probabilities: NDArray[np.float32]) -> float | None:
    """Return the perplexity of the texts over the source's own; None when it is no number.

    `log_probabilities`, (rows, length - 1), are those of the tokens that follow.
    """
    ratio = math.exp(min(float((reference.chosen - log_probabilities).mean()), 700))
    return round(ratio, 6) if math.isfinite(ratio) else None
