"""What the runner needs to know of a loaded model.

`genai.GenaiPipeline` is the usual one, `steps.StepsPipeline` that of models which GenAI runs
wrongly, `ovrecipe.testing.FakePipeline` the one for tests of everything else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ovrecipe.types import FinishReason, Metrics

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
class Ended:
    """How one call of `generate` ended."""

    finish_reason: FinishReason
    generated_tokens: int
    metrics: Metrics
    #: Whether the model itself ended the answer, with a token: no limit and no stop text.
    by_the_model: bool = True


class Model(Protocol):
    """A loaded model, as far as a prompt and its parameters are concerned."""

    device: str
    bos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool, cuts: Sequence[int] = ()) -> Tokens:
        """Return the tokens of a rendered prompt; none of them spans one of the `cuts`.

        Raises:
            PromptRefused: the tokenizer does not take the text.
        """

    def tokens_of(self, ids: Sequence[int]) -> Tokens:
        """Return a prompt of these tokens.

        Raises:
            PromptRefused: the model has no such token.
        """

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return a generation config: the artifact's own with `parameters` on top.

        Raises:
            GenerationParameterRefused: a name is unknown, or a value is not taken.
        """

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:
        """Return how many tokens `config` allows after a prompt of that length."""

    def close(self) -> None:
        """Let go of the model's memory."""


class Pipeline(Model, Protocol):
    """A model that answers one prompt at a time; `generate` is called by one thread at a time."""

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Ended:
        """Generate until the model ends, the limit is reached or `on_text` returns False.

        Raises:
            RunError: the model failed.
        """


@dataclass(frozen=True)
class Generated:
    """What a step gave one answer; `finish_reason` and `metrics` come with the last of it."""

    tokens: Sequence[int] = ()
    #: The logarithm of each token's probability, before sampling.
    logprobs: Sequence[float] = ()
    finish_reason: FinishReason | None = None
    metrics: Metrics | None = None


class Answering(Protocol):
    """An answer that grows step by step; let go of it and it is cancelled."""

    def read(self) -> Generated | None:
        """Return what came since it was read last; None where nothing did."""

    def cancel(self) -> None:
        """Let the model forget it at the end of the next step."""


class Batching(Model, Protocol):
    """A model that answers many prompts at once: each step gives each of them a token.

    All of it is called by one thread, but for `encode` and `configure`.
    """

    #: Positions of the cache that are given out together, and how many such blocks there are.
    block_size: int
    blocks: int
    #: How many answers grow at once, at most.
    most_at_once: int

    def add(self, tokens: Tokens, config: Any) -> Answering:
        """Take a prompt in.

        Raises:
            RunError: GenAI does not take it.
        """

    def step(self) -> None:
        """Compute one step of all answers.

        Raises:
            EngineFailed: GenAI failed, and never does a step again.
        """

    def decode(self, rows: Sequence[Sequence[int]], *, special: bool = False) -> list[str]:
        """Return the text of each row of tokens; control tokens only where `special`."""
