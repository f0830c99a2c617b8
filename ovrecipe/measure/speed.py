"""Figures of speed and memory: their names, median and spread, and what became slower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, NamedTuple

#: What each figure is called in a table; `at` is a number of prompt tokens or of sequences.
HEADINGS = {
    "load_time_ms": "load, ms",
    "ttft_ms": "first token after {at}, ms",
    "tpot_ms": "time a token after {at}, ms",
    "peak_memory_bytes": "peak memory",
    "throughput": "tokens/s, batch of {at}",
}
HIGHER_IS_BETTER = ("throughput",)
#: How many tokens the prompts of a batch have.
BATCH_PROMPT_TOKENS = 32
#: A difference counts that is above so many spreads of both sides together, and above so large a
#: share of the figure: for the median of five runs that is three standard errors and more.
SPREADS, LEAST_SHARE = 2.0, 0.03


class Figure(NamedTuple):
    """What was measured; `at` how many prompt tokens, or sequences at once, where that counts."""

    name: str
    at: int | None = None

    @property
    def key(self) -> str:
        """The figure in one word: `ttft_ms@512`."""
        return self.name if self.at is None else f"{self.name}@{self.at}"

    @classmethod
    def of(cls, key: str) -> Figure:
        """Return the figure of a `key`."""
        name, _, at = key.partition("@")
        return cls(name, int(at) if at else None)

    @property
    def heading(self) -> str:
        """What a table calls it."""
        return HEADINGS[self.name].format(at=self.at)


@dataclass(frozen=True)
class Settings:
    """What is asked of every model that is measured."""

    prompt_tokens: tuple[int, ...]
    batch: tuple[int, ...]
    new_tokens: int
    warm_up: int

    def as_json(self) -> dict[str, Any]:
        """Return what `Settings.of` reads."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Settings:
        """Return settings that were JSON meanwhile."""
        lists = {name: tuple(document[name]) for name in ("prompt_tokens", "batch")}
        return cls(**{**document, **lists})

    def longest(self) -> int:
        """Return how many positions a model needs."""
        prompts = (*self.prompt_tokens, *(BATCH_PROMPT_TOKENS for _ in self.batch))
        return max(prompts, default=0) + self.new_tokens


class Summary(NamedTuple):
    """Samples of one figure; `spread` is their median absolute deviation from the median."""

    median: float
    spread: float
    samples: tuple[float, ...]


def summary_of(samples: Sequence[float]) -> Summary:
    """Return median and spread; one sample has the spread 0."""
    middle = median(samples)
    return Summary(middle, median(abs(sample - middle) for sample in samples), tuple(samples))


def summaries(runs: Sequence[Mapping[str, float]]) -> dict[Figure, Summary]:
    """Return the summary of each figure of some runs, in the order of the first."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return {Figure.of(key): summary_of([run[key] for run in runs if key in run]) for key in keys}


class Change(NamedTuple):
    """A figure now and before; `verdict` is `slower`, `faster` (or `more`, `less`), or empty."""

    figure: Figure
    now: Summary
    before: Summary
    verdict: str

    @property
    def is_worse(self) -> bool:
        """Whether it is worse beyond the spread."""
        return self.verdict in ("slower", "more")

    @property
    def share(self) -> float:
        """By which share of the figure before it changed."""
        return self.now.median / self.before.median - 1


def change(figure: Figure, now: Summary, before: Summary) -> Change:
    """Compare two summaries of a figure; only what is beyond the spread of both is a change."""
    difference = now.median - before.median
    noise = SPREADS * (now.spread + before.spread)
    if abs(difference) <= max(noise, LEAST_SHARE * before.median):
        return Change(figure, now, before, "")
    is_worse = (difference < 0) == (figure.name in HIGHER_IS_BETTER)
    words = ("more", "less") if figure.name == "peak_memory_bytes" else ("slower", "faster")
    return Change(figure, now, before, words[0] if is_worse else words[1])


def changes(now: Mapping[Figure, Summary], before: Mapping[Figure, Summary]) -> Iterator[Change]:
    """Yield the change of every figure that both have."""
    for figure, summary in now.items():
        if figure in before:
            yield change(figure, summary, before[figure])


def best_of(records: Sequence[Mapping[Figure, Summary]]) -> dict[Figure, Summary]:
    """Return the best summary of each figure."""
    best: dict[Figure, Summary] = {}
    for record in records:
        for figure, summary in record.items():
            sign = -1 if figure.name in HIGHER_IS_BETTER else 1
            if figure not in best or sign * summary.median < sign * best[figure].median:
                best[figure] = summary
    return best
