"""The sliders: their ranges, where they start, and the parameters that they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import randbelow
from typing import Any

from ovrecipe.errors import GenerationParameterRefused


@dataclass(frozen=True)
class Range:
    """One slider; `label` is what the page calls it."""

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    default: float
    info: str

    def around(self, value: Any) -> Range:
        """Return the range that starts at a value, widened until it has room for it."""
        if value is None:
            return self
        least, most = min(self.minimum, value), max(self.maximum, value)
        return Range(self.name, self.label, least, most, self.step, value, self.info)


MAX_NEW_TOKENS = Range(
    "max_new_tokens", "Max new tokens", 1, 1000, 1, 256, "The longest answer, in tokens."
)
TEMPERATURE = Range(
    "temperature", "Temperature", 0.1, 5.0, 0.1, 0.8, "Higher is more varied, lower more certain."
)
TOP_P = Range("top_p", "Top-p", 0.05, 1.0, 0.01, 1.0, "Keep the likeliest tokens up to this sum.")
TOP_K = Range("top_k", "Top-k", 0, 50, 1, 0, "Keep this many of the likeliest; 0 is off.")
#: Short enough to be read and typed again.
SEEDS = 1_000_000
RANGES = (MAX_NEW_TOKENS, TEMPERATURE, TOP_P, TOP_K)
#: What means sampling when it is asked for.
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
#: The parameters that the page decides with each answer.
CONTROLLED = ("greedy", "do_sample", "rng_seed", *(limits.name for limits in RANGES))


@dataclass(frozen=True)
class Defaults:
    """Where the page starts: the parameters of the artifact and of the conversation."""

    ranges: tuple[Range, ...]
    greedy: bool
    seed: str

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Defaults:
        """Return them; what nobody gives is as in `RANGES`.

        As everywhere in ovrecipe a sampling parameter without `do_sample` means sampling. A page
        of an artifact that says nothing samples: that is what its sliders are for.
        """
        return cls(
            ranges=tuple(limits.around(parameters.get(limits.name)) for limits in RANGES),
            greedy=parameters.get("do_sample") is False,
            seed=str(parameters.get("rng_seed", "")),
        )


def generation_of(
    max_new_tokens: float,
    temperature: float,
    top_p: float,
    top_k: float,
    *,
    greedy: bool,
    seed: str,
) -> dict[str, Any]:
    """Return what the controls mean, by GenAI's names; without a seed one is drawn.

    GenAI's own is the same each time, and so would be the answers.

    Raises:
        GenerationParameterRefused: the seed is no number.
    """
    length: dict[str, Any] = {"max_new_tokens": int(max_new_tokens)}
    if greedy:
        return {**length, "greedy": True}
    sampling = {"temperature": float(temperature), "top_p": float(top_p), "top_k": int(top_k)}
    if seed.strip() and not seed.strip().isdecimal():
        raise GenerationParameterRefused(
            f"seed: {seed.strip()!r} is not a whole number",
            remedy="leave it empty for a random one",
        )
    rng_seed = int(seed) if seed.strip() else randbelow(SEEDS)
    return {**length, "do_sample": True, **sampling, "rng_seed": rng_seed}
