"""What the runner needs to know of a loaded model.

`genai.GenaiPipeline` is the real one, `ovrecipe.testing.FakePipeline` the one for tests of
everything else.
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


class Pipeline(Protocol):
    """A loaded model; `generate` is called by one thread at a time."""

    device: str
    bos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool, cuts: Sequence[int] = ()) -> Tokens:
        """Return the tokens of a rendered prompt; none of them spans one of the `cuts`.

        Raises:
            PromptRefused: the tokenizer does not take the text.
        """

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return a generation config: the artifact's own with `parameters` on top.

        Raises:
            GenerationParameterRefused: a name is unknown, or a value is not taken.
        """

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:
        """Return how many tokens `config` allows after a prompt of that length."""

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Ended:
        """Generate until the model ends, the limit is reached or `on_text` returns False.

        Raises:
            RunError: the model failed.
        """

    def close(self) -> None:
        """Let go of the model's memory."""
