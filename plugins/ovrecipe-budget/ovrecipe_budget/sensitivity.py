"""The sensitivity of each operation, measured on a few lines that the model writes itself.

Source: text from the model instead of a data set as in "LLM-QAT" (arXiv 2305.17888).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.types import Progress
    from ovrecipe_budget.probe import Numbers, Probe

SEED = 20260
#: Lines, and the tokens of each.
LINES, LENGTH = 2, 32
#: The noise of a knob that is turned, relative to the output: a quarter of what 4 bits make, so
#: that the divergence is still proportional to its power.
ALPHA = 0.05


@dataclass(frozen=True)
class Sensitivity:
    """How the answer depends on one operation.

    `divergence` is the mean Kullback-Leibler divergence of the next token's distribution per
    relative power of noise in the output. `power` weights the squared errors of each channel's
    weights so that they sum up to that relative power; None where every channel counts alike.
    """

    divergence: float
    power: Numbers | None


def measure_sensitivities(probe: Probe, progress: Progress) -> dict[str, Sensitivity]:
    """Return the sensitivity of each operation by its name; the same on every call."""
    import numpy as np

    random = np.random.default_rng(SEED)
    progress("the model writes the text to measure on")
    ids = _written(probe, random)
    noise = random.standard_normal(probe.noise_shape(ids), np.float32)
    logits = _logits(probe, ids)
    expected = probabilities(logits)
    powers = probe.relative_powers()
    found = {}
    for index, name in enumerate(probe.operations):
        progress("measuring sensitivity", done=index, total=len(probe.operations))
        alphas = np.zeros(len(probe.operations))
        alphas[index] = ALPHA
        moved = _logits(probe, ids, alphas=alphas, noise=noise)
        shift = divergence(expected, logits - moved)
        found[name] = Sensitivity(shift / ALPHA**2, powers.get(name))
    progress("measuring sensitivity", done=len(found), total=len(found))
    return found


def probabilities(logits: Numbers) -> Numbers:
    """Return the distributions that logits stand for."""
    import numpy as np

    powers = np.exp(logits - logits.max(-1, keepdims=True))
    result: Numbers = powers / powers.sum(-1, keepdims=True, dtype=np.float64).astype(np.float32)
    return result


def divergence(expected: Numbers, fallen: Numbers) -> float:
    """Return the mean Kullback-Leibler divergence in nats from distributions to others.

    `expected` are the probabilities, `fallen` how much lower each logit of the others is: with
    sum(p) = 1 the divergence is sum(p * fallen) + log(sum(p * exp(-fallen))), which loses no digit
    where it is small.
    """
    import numpy as np

    def mean(values: Numbers) -> Numbers:
        summed: Numbers = np.einsum("...v,...v->...", expected, values, dtype=np.float64)
        return summed

    found = mean(fallen) + np.log1p(mean(np.expm1(-fallen)))
    return max(0.0, float(found.mean()))


def _logits(probe: Probe, ids: Numbers, **knobs: Any) -> Numbers:
    probe.reset()
    return probe.logits(ids, **knobs)


def _written(probe: Probe, random: Any) -> Numbers:
    """Return lines that begin anywhere in the vocabulary and go on by sampling, as token ids."""
    import numpy as np

    probe.reset()
    tokens = random.integers(0, probe.vocabulary_size, (LINES, 1))
    lines = [tokens]
    for past in range(LENGTH - 1):
        logits = probe.logits(tokens, past=past)[:, -1]
        # Adding Gumbel noise and taking the largest draws from the distribution.
        tokens = (logits + random.gumbel(size=logits.shape)).argmax(-1)[:, None]
        lines.append(tokens)
    return np.concatenate(lines, axis=1)
