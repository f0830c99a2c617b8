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
    over the source's own. A figure with `_error` is a standard error. `information` is what the
    source knows: the mean divergence, in nats, of its next tokens from a guess among all of them.
    A model that guesses has that as its `mean_kl`.
    """

    mean_kl: float
    mean_kl_error: float
    same_top: float
    perplexity_ratio: float
    perplexity_ratio_error: float
    information: float
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
    """Return the figures of a model; `logits` are each row's, (length - 1, vocabulary)."""
    import numpy as np

    divergences, same, gains, known = [], [], [], []
    for row, found in enumerate(logits):
        places = log_softmax(found).astype(np.float64)
        ids, expected = reference.top_ids[row], reference.top[row].astype(np.float64)
        at_top = np.take_along_axis(places, ids.astype(np.int64), axis=-1)
        divergence = (np.exp(expected) * (expected - at_top)).sum(axis=-1)
        divergences.append(divergence + _of_the_rest(expected, at_top))
        known.append(_information(expected, found.shape[-1]))
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
        information=float(np.concatenate(known).mean()),
        tokens=len(divergence),
    )


def _rest(log_probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of all tokens that are not listed.

    What rounding leaves of a whole vocabulary is none; sums of float32 are good to 1e-6.
    """
    import numpy as np

    mass: NDArray[np.float64] = 1 - np.exp(log_probabilities).sum(axis=-1)
    return np.where(mass < 1e-6, 0, mass)


def _of_the_rest(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the tokens outside the top add to the divergence, taken as one token."""
    import numpy as np

    mass = _rest(expected)
    other = np.clip(1 - np.exp(found).sum(axis=-1), 1e-12, None)
    rest: NDArray[np.float64] = mass * (np.log(np.where(mass > 0, mass, 1)) - np.log(other))
    return rest


def _information(expected: NDArray[np.float64], vocabulary: int) -> NDArray[np.float64]:
    """Return the divergence from a guess among all tokens; those not listed count alike."""
    import numpy as np

    mass, others = _rest(expected), max(1, vocabulary - expected.shape[-1])
    listed = (np.exp(expected) * (expected + math.log(vocabulary))).sum(axis=-1)
    rest: NDArray[np.float64] = mass * np.log(np.where(mass > 0, mass * vocabulary / others, 1))
    return np.asarray(listed + rest)


def chosen_log_probabilities(
    reference: Reference, logits: Iterable[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the log-probability of each token but a row's first, (rows, length - 1)."""
    import numpy as np

    following = reference.tokens[:, 1:, None]
    found = [
        np.take_along_axis(log_softmax(row), ids, axis=-1)[:, 0]
        for row, ids in zip(logits, following, strict=True)
    ]
    return np.asarray(found, np.float32)


def gap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how far apart log-probabilities of the same tokens are, as a share of their spread.

    The spread of an untrained model's is small, and so is what a wrong computation changes. What
    is no number makes it infinite.
    """
    found = float(abs(one - other).mean() / other.std())
    return found if math.isfinite(found) else math.inf


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std() / math.sqrt(len(values)))
