"""What a model on the CPU says of given tokens: the IR by itself, and as runners run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from ovrecipe.builtin.ir import IR_XML, StatefulModel
from ovrecipe.errors import RunError, StageError, foreign_errors
from ovrecipe.run.artifact import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.measure.reference import AnswersTaken

#: Activations and KV cache as exact as the device has them: what differs then is the weights.
EXACTLY: Mapping[str, str] = {
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
}


def logits_of(
    model_dir: Path, rows: NDArray[np.int64], properties: Mapping[str, str] = EXACTLY
) -> NDArray[np.float32]:
    """Return the logits of what follows in each row of tokens, (rows, length - 1, vocabulary).

    Raises:
        StageError: OpenVINO cannot open or run the model.
    """
    with foreign_errors(f"running {IR_XML}"):
        found: NDArray[np.float32] = StatefulModel(model_dir, properties).logits(rows[:, :-1])
        return found


def answer(model_dir: Path, taken: AnswersTaken) -> None:
    """Let the IR itself answer, as exactly as it can: the reference where no exporter gave one.

    Raises:
        StageError: OpenVINO cannot open or run the model, or its logits are not finite.
    """
    with foreign_errors(f"running {IR_XML}"):
        model = StatefulModel(model_dir, EXACTLY)
        for prompt in taken.prompts:
            model.forget()
            tokens, new = list(prompt), list(prompt)
            for _ in range(taken.new_tokens):
                new = [int(model.logits([new])[0, -1].argmax())]
                tokens += new
            model.forget()
            taken.take(tokens, model.logits([tokens[:-1]])[0])


class Opened(ABC):
    """A model and its tokenizer, opened as a runner opens them; answers greedily.

    `tokenizer_dir` is where the tokenizer is, if elsewhere.

    Raises:
        StageError: it cannot be opened, or run.
    """

    #: How it is opened and run, for messages.
    how: ClassVar[str]

    def __init__(
        self,
        model_dir: Path,
        properties: Mapping[str, str] | None = None,
        *,
        tokenizer_dir: Path | None = None,
    ) -> None:
        from openvino_genai import Tokenizer

        with _stage_errors(f"opening the model {self.how}"):
            self.tokenizer = Tokenizer(tokenizer_dir or model_dir)
            self._pipeline: Any = self._open(model_dir, properties or {})

    def answers(
        self, rows: NDArray[np.int64], max_new_tokens: int, *, ignore_eos: bool = False
    ) -> list[list[int]]:
        """Return what the model goes on with, greedily, behind each row, (rows, length)."""
        from openvino_genai import GenerationConfig

        asked = GenerationConfig(
            do_sample=False,
            apply_chat_template=False,
            max_new_tokens=max_new_tokens,
            ignore_eos=ignore_eos,
        )
        with _stage_errors(f"running the model {self.how}"):
            return [list(written) for written in self._written(rows, asked)]

    @abstractmethod
    def _open(self, model_dir: Path, properties: Mapping[str, str]) -> Any:
        """Return what runs the model."""

    @abstractmethod
    def _written(self, rows: NDArray[np.int64], asked: Any) -> Iterator[Iterable[int]]:
        """Yield the tokens behind each row, as a GenerationConfig asks for them.

        Those of a row are read to their end before the next row's.
        """


class Paged(Opened):
    """GenAI with paged attention, as `ovrecipe run` and servers run a model."""

    how = "with paged attention"

    def _open(self, model_dir: Path, properties: Mapping[str, str]) -> Any:
        from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

        scheduler = SchedulerConfig()
        return ContinuousBatchingPipeline(model_dir, self.tokenizer, scheduler, "CPU", **properties)

    def _written(self, rows: NDArray[np.int64], asked: Any) -> Iterator[Iterable[int]]:
        # All at once: a step reads the weights once for all rows.
        return (answer.generated_ids for answer in self._answered(rows, asked))

    def log_probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probability of each token but a row's first, (rows, length - 1).

        GenAI says it of a prompt that it is told to echo; what it says of the first token has no
        meaning.
        """
        import numpy as np
        from openvino_genai import GenerationConfig

        asked = GenerationConfig(
            do_sample=False, apply_chat_template=False, max_new_tokens=1, echo=True, logprobs=1
        )
        with _stage_errors(f"running the model {self.how}"):
            answers = self._answered(rows, asked)
        found = [answer.generated_log_probs[1 : rows.shape[1]] for answer in answers]
        return np.asarray(found, np.float32)

    def _answered(self, rows: NDArray[np.int64], asked: Any) -> list[Any]:
        from openvino import Tensor

        handles = [
            self._pipeline.add_request(number, Tensor(row[None].copy()), asked)
            for number, row in enumerate(rows)
        ]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
        return [handle.read_all()[0] for handle in handles]


class Unpaged(Opened):
    """GenAI without paged attention: with SDPA, as the IR has it."""

    how = "with SDPA"

    def _open(self, model_dir: Path, properties: Mapping[str, str]) -> Any:
        from openvino_genai import LLMPipeline

        asked = {"ATTENTION_BACKEND": "SDPA", **properties}
        return LLMPipeline(model_dir, self.tokenizer, "CPU", **asked)

    def _written(self, rows: NDArray[np.int64], asked: Any) -> Iterator[Iterable[int]]:
        from openvino import Tensor

        for row in rows:
            yield self._pipeline.generate(Tensor(row[None].copy()), asked).tokens[0]


class Stepped(Opened):
    """The IR without GenAI's pipelines, token by token, as `ovrecipe run` then does."""

    how = "token by token"

    def _open(self, model_dir: Path, properties: Mapping[str, str]) -> Any:
        from ovrecipe.run.steps import open_steps

        return open_steps(model_dir, "CPU", properties=properties, tokenizer=self.tokenizer)

    def _written(self, rows: NDArray[np.int64], asked: Any) -> Iterator[Iterable[int]]:
        return (self._pipeline.written(row.tolist(), asked) for row in rows)


@contextmanager
def _stage_errors(doing: str) -> Iterator[None]:
    """Turn what OpenVINO raises, and what a runner makes of it, into a StageError."""
    with foreign_errors(doing):
        try:
            yield
        except RunError as error:
            raise StageError(f"{doing}: {error.message}", remedy=error.remedy) from error


#: What opens a model, by the backend that a build chose.
OPENED: Mapping[str, type[Opened]] = {
    "PA": Paged,
    "SDPA": Unpaged,
    STEPS: Stepped,
}
