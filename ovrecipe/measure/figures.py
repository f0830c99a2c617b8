"""How far log-probabilities are from a reference: divergence, same top token, perplexity."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from ovrecipe.measure.reference import Said, log_softmax

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
            # Rounding leaves a zero of either sign.
            name: round(value, 6) + 0.0 if isinstance(value, float) else value
            for name, value in found.items()
            if math.isfinite(value)
        }


class Places(NamedTuple):
    """What was found at places of a text, a number for each; `Figures` are their means.

    `gain` is the source's log-probability of the token that follows, less the model's.
    """

    divergence: NDArray[np.float64]
    same_top: NDArray[np.bool_]
    gain: NDArray[np.float64]
    information: NDArray[np.float64]


def at_places(said: Said, following: NDArray[np.int64], logits: NDArray[np.float32]) -> Places:
    """Compare a model's logits, (places, vocabulary), with what the source said there."""
    import numpy as np

    found = log_softmax(logits).astype(np.float64)
    ids, expected = said.top_ids.astype(np.int64), said.top.astype(np.float64)
    at_top = np.take_along_axis(found, ids, axis=-1)
    divergence = (np.exp(expected) * (expected - at_top)).sum(axis=-1)
    chosen = np.take_along_axis(found, following[:, None], axis=-1)[:, 0]
    return Places(
        divergence=divergence + _of_the_rest(expected, at_top),
        same_top=found.argmax(axis=-1) == ids[:, 0],
        gain=said.chosen - chosen,
        information=_information(expected, logits.shape[-1]),
    )


def compared(reference: Reference, logits: Iterable[NDArray[np.float32]]) -> Figures:
    """Return the figures of a model; `logits` are each row's, (length - 1, vocabulary)."""
    rows = zip(reference.top_ids, reference.top, reference.chosen, strict=True)
    return figures_of(
        at_places(Said(*row), tokens[1:], found)
        for row, tokens, found in zip(rows, reference.tokens, logits, strict=True)
    )


def figures_of(texts: Iterable[Places], groups: Iterable[int] | None = None) -> Figures:
    """Return the figures over all places of some texts.

    Places of texts of the same one of `groups` depend on each other, which standard errors take
    in; without groups each place stands for itself.
    """
    import numpy as np

    found = list(texts)
    divergence, same_top, gain, information = map(np.concatenate, zip(*found, strict=True))
    lengths = [len(text.gain) for text in found]
    whose = np.arange(len(gain)) if groups is None else np.repeat(list(groups), lengths)
    ratio = float(np.exp(gain.mean()))
    return Figures(
        mean_kl=float(divergence.mean()),
        mean_kl_error=_standard_error(divergence, whose),
        same_top=float(same_top.mean()),
        perplexity_ratio=ratio,
        perplexity_ratio_error=ratio * _standard_error(gain, whose),
        information=float(information.mean()),
        tokens=len(gain),
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


def _standard_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Return that of the mean of values that depend on each other within a group; NaN for one.

    Source: the sandwich of Liang and Zeger (1986) for a mean, with its correction for few groups.
    """
    import numpy as np

    sums = np.bincount(np.unique(groups, return_inverse=True)[1], values - values.mean())
    if len(sums) < 2:
        return math.nan
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(values))
