"""The little that the runner needs to know of a loaded model.

`genai.GenaiPipeline` is the real one, `ovrecipe.testing.FakePipeline` the one for tests of
everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Metrics:
    """GenAI's own figures of one generation; milliseconds, and tokens per second.

    `tpot_ms` and `throughput` are None where fewer than two tokens were generated: there is no
    time between tokens then.

    Source: openvino_genai.PerfMetrics, GenAI 2026.4.
    """

    ttft_ms: float
    tpot_ms: float | None
    throughput: float | None
    load_time_ms: float


@dataclass(frozen=True)
class GenerationResult:
    """An answer: the text as it was shown, why it ended, and what it took.

    `metrics` and `generated_tokens` are None when the generation was cancelled and GenAI had not
    come back by the time the caller was let go, for instance within a long prompt.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    generated_tokens: int | None
    metrics: Metrics | None
    device: str

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON; the names are the fields' names."""
        return asdict(self)


#: Takes the next text and says whether to go on; called on a thread of the pipeline's.
OnText: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True)
class Tokens:
    """An encoded prompt: how many tokens, and what the pipeline takes."""

    count: int
    ids: Any
    #: The first tokens as numbers, enough to see a doubled beginning.
    first: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finished:
    """How one call of `generate` ended."""

    finish_reason: FinishReason
    generated_tokens: int
    metrics: Metrics


class Pipeline(Protocol):
    """A loaded model; `generate` is called by one thread at a time."""

    device: str
    bos_token_id: int | None

    def encode(self, prompt: str, *, add_special_tokens: bool) -> Tokens:
        """Return the tokens of a rendered prompt."""

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return a generation config: the artifact's own with `parameters` on top.

        Raises:
            GenerationParameterRefused: a name is unknown, or a value is not taken.
        """

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:
        """Return how many tokens `config` allows after a prompt of that length."""

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Finished:
        """Generate until the model ends, the limit is reached or `on_text` returns False.

        Raises:
            RunError: the model failed.
        """

    def close(self) -> None:
        """Let go of the model's memory."""
