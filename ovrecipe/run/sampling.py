"""Which token is next, of logits: greedy, or drawn as GenAI's parameters say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.floating[Any]]


class Sampler:
    """Chooses the tokens of one answer by a GenAI `GenerationConfig`."""

    def __init__(self, config: Any, ending: Collection[int], prompt: Sequence[int]) -> None:
        from numpy.random import default_rng

        self._config = config
        self._ending = list(ending)
        self._random = default_rng(config.rng_seed)
        self._seen = set(prompt)
        self._written = 0

    def next(self, logits: Logits) -> int:
        """Return the token that follows; `logits` has one of each token."""
        import numpy as np

        config, logits = self._config, logits.astype(np.float64)
        if self._written < config.min_new_tokens:
            logits[self._ending] = -np.inf
        if config.repetition_penalty != 1:
            _penalize(logits, self._seen, config.repetition_penalty)
        if config.do_sample:
            shares = _shares(logits / config.temperature)
            kept = _kept(shares, config)
            bounds = shares[kept].cumsum()
            drawn = int(np.searchsorted(bounds, self._random.random() * bounds[-1], side="right"))
            token = int(kept[min(drawn, len(kept) - 1)])
        else:
            token = int(logits.argmax())
        self._seen.add(token)
        self._written += 1
        return token


def _penalize(logits: Logits, seen: Collection[int], penalty: float) -> None:
    """Make tokens that the prompt or the answer has less likely.

    Source: Keskar et al., CTRL (2019), as transformers and GenAI read it.
    """
    places = list(seen)
    found = logits[places]
    found[found > 0] /= penalty
    found[found < 0] *= penalty
    logits[places] = found


def _shares(logits: Logits) -> Logits:
    """Return the probability of each token."""
    import numpy as np

    weights = np.exp(logits - logits.max())
    found: Logits = weights / weights.sum()
    return found


def _kept(shares: Logits, config: Any) -> NDArray[np.int64]:
    """Return the tokens that may be drawn, the likeliest first: the first always may."""
    order: NDArray[Any] = (-shares).argsort(kind="stable")
    count = min(int(config.top_k), len(order))
    likely = shares[order]
    if config.top_p < 1:
        # Those that it takes to reach top_p together.
        count = min(count, int((likely.cumsum() < config.top_p).sum()) + 1)
    if config.min_p > 0:
        count = min(count, int((likely >= config.min_p * likely[0]).sum()))
    return order[: max(count, 1)]
