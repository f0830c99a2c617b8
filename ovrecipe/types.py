"""Types that every folder shares: JSON values, the protocol of progress, what an answer is."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

#: A JSON value; what keys and pins are made of.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Progress(Protocol):
    """Where long work says how far it is; safe to call often and from any thread."""

    def __call__(
        self, message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        """Show `message`, and `done` of `total` where the end is known; `unit` "B" is bytes."""


FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Metrics:
    """GenAI's own figures of one generation; milliseconds, and tokens per second.

    `tpot_ms` and `throughput`, of the time between tokens, are None for fewer than two of them.

    Source: openvino_genai.PerfMetrics, GenAI 2026.4.
    """

    ttft_ms: float
    tpot_ms: float | None
    throughput: float | None
    load_time_ms: float


@dataclass(frozen=True)
class GenerationResult:
    """An answer: the text as it was shown, why it ended, and what it took.

    `metrics` and `generated_tokens` are None when it was cancelled before GenAI came back, and
    `seed`, with which `rng_seed` gives the answer again, when nothing was sampled. `unfinished`
    says why the text is not of the form that was asked for (`json_schema`, `regex`, `grammar`).
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    generated_tokens: int | None
    metrics: Metrics | None
    device: str
    seed: int | None = None
    unfinished: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON; the names are the fields' names."""
        return asdict(self)
