"""A running generation, as the generating thread and as its caller see it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self, TypeAlias

from ovrecipe.errors import RunError
from ovrecipe.run.pipeline import Ended, Pipeline, Tokens
from ovrecipe.types import GenerationResult

if TYPE_CHECKING:
    from ovrecipe.run.prompt import Message
    from ovrecipe.run.runner import Runner

OnEnd: TypeAlias = Callable[["Generation", GenerationResult | None], None] | None


class GenerationTask:
    """One generation as the generating thread sees it.

    `segments` carries text; an empty one wakes the reader, who looks at `ended` and `cancelled`.
    """

    def __init__(
        self, tokens: Tokens, config: object, *, seed: int | None = None, form: str | None = None
    ) -> None:
        self.tokens = tokens
        self.config = config
        self.seed = seed
        #: The parameter that says which form the answer has, if one does.
        self.form = form
        self.segments: SimpleQueue[str] = SimpleQueue()
        self.ended = threading.Event()
        self.cancelled = False
        self.finished: Ended | None = None
        self.error: BaseException | None = None
        self.generating = False

    def cancel(self) -> None:
        """Ask the generating thread to stop at its next token, and wake the reader."""
        self.cancelled = True
        self.segments.put("")

    def run(self, pipeline: Pipeline, closed: threading.Event) -> None:
        """Generate, unless cancelled while waiting; an error is kept for the reader."""
        put = self.segments.put
        main_is_alive = threading.main_thread().is_alive

        def go_on() -> bool:
            # When the main thread has left, nobody reads any more, and the process shall end.
            if closed.is_set() or not main_is_alive():
                self.cancelled = True
            return not self.cancelled

        def on_text(text: str) -> bool:  # for every token: as little as can be, it holds the GIL
            put(text)
            return go_on()

        try:
            if go_on():
                self.generating = True
                self.finished = pipeline.generate(self.tokens, self.config, on_text)
        except BaseException as exc:  # noqa: BLE001 - raised again where the caller stands
            self.error = exc
        finally:
            self.generating = False
            self.ended.set()
            put("")


#: Text is handed out at most this often: each time a reader wakes it takes a core from the model.
#: Thirty times a second reads as a steady flow.
SEGMENT_SECONDS = 0.033
#: How long a cancelled generation may take to give its figures before the caller is let go.
PATIENCE_SECONDS = 0.2
#: Windows delivers Ctrl-C between two waits, not within one.
WAKE_SECONDS = 0.1


class Generation:
    """The answer as it comes: iterate for segments, then read `result`.

    Leaving the loop early, leaving a `with` block, `cancel` and Ctrl-C end the generation. Errors
    of the model are raised from the loop. A second loop yields nothing.
    """

    def __init__(
        self, task: GenerationTask, runner: Runner, messages: Sequence[Message], on_end: OnEnd
    ) -> None:
        self._task = task
        self.messages = tuple(messages)
        self.recipe, self.variant = runner.recipe, runner.variant
        self._runner = runner
        self._on_end = on_end
        self._raw: list[str] = []
        self._shown: list[str] = []
        self._result: GenerationResult | None = None
        self._over = False
        self._cut = False
        self._ending = threading.RLock()

    def __iter__(self) -> Iterator[str]:
        """Yield the filtered text as it comes, several tokens at once where they come fast."""
        if self._over:
            return
        try:
            yield from self._segments()
        except (GeneratorExit, KeyboardInterrupt):
            self.close()
            raise
        except BaseException:
            self._task.cancel()
            self._end(None)
            raise
        self._end(self._summary())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Do not let the model work for nobody."""
        self._task.cancel()

    def cancel(self) -> None:
        """End the generation, from any thread; a loop over it stops within 0.3 s."""
        self._task.cancel()

    def close(self) -> None:
        """Cancel what is still running; what was shown so far becomes the result."""
        if self._over:
            with self._ending:  # until the thread that ends it has told the conversation
                return
        self._task.cancel()
        self._end(self._summary())

    @property
    def question(self) -> str:
        """The last message, which is answered."""
        return self.messages[-1]["content"] if self.messages else ""

    def history_text(self) -> str:
        """Return the answer as the history has it: without filters that are for display only."""
        kept = self._runner.filters.kept()
        if kept is None:
            return "".join(self._shown)
        ended = False

        def pieces() -> Iterator[str]:
            nonlocal ended
            yield from self._raw
            ended = self._task.cancelled  # what was held back of a text that has no end

        return "".join(takewhile(lambda _: not ended, kept.over(pieces())))

    @property
    def running(self) -> bool:
        """Whether the answer may still grow."""
        return not self._over and not self._task.cancelled

    def tokens_so_far(self) -> int | None:
        """Return how many tokens have come, hidden ones included; None unless it is running.

        It costs about a millisecond for 200 tokens, so ask a few times a second. The newest two or
        three are missing, whose text GenAI holds back while the next token can change it.
        """
        return self._runner.token_count("".join(self._raw)) if self._task.generating else None

    @property
    def result(self) -> GenerationResult:
        """The result, once the loop has ended or the generation was cancelled.

        Raises:
            RunError: it is still running, or it failed.
        """
        if self._task.cancelled:
            self.close()
        if self._result is None:
            state = "failed" if self._over else "is still running; iterate over it first"
            raise RunError(f"no result: the generation {state}")
        return self._result

    def _segments(self) -> Iterator[str]:
        pieces = self._pieces()
        for text in self._runner.filters.over(pieces):
            if self._cut:
                break  # what filters held back of a text that has no end
            self._shown.append(text)
            yield text
        for _ in pieces:
            continue  # a filter may end before the model does
        if self._task.error is not None and not self._task.cancelled:
            raise self._task.error

    def _pieces(self) -> Iterator[str]:
        """Yield the model's text as it comes; raises nothing, for filters read from it."""
        task, ended = self._task, False
        while not ended:
            texts: list[str] = []
            # Looked at before the queue is emptied: what an ended task wrote is in it by then.
            ended = task.ended.is_set()
            with suppress(Empty):
                texts.append(task.segments.get(block=not ended, timeout=WAKE_SECONDS))
                while True:
                    texts.append(task.segments.get_nowait())
            if task.cancelled:
                break
            if text := "".join(texts):
                self._raw.append(text)
                yield text
            if texts:
                task.ended.wait(SEGMENT_SECONDS)
        self._cut = task.cancelled or task.error is not None

    def _end(self, result: GenerationResult | None) -> None:
        """Keep the first result: a loop and a `close` on two threads may both come here."""
        with self._ending:
            if self._over:
                return
            self._over = True
            self._result = result
            # Who closes it on another thread meanwhile waits until the conversation knows.
            if self._on_end is not None:
                self._on_end(self, result)
        if self._runner.observe is not None and result is not None:
            self._runner.observe(self)

    def _summary(self) -> GenerationResult:
        task = self._task
        if task.cancelled:
            task.ended.wait(PATIENCE_SECONDS)
        done = task.finished
        return GenerationResult(
            text="".join(self._shown),
            finish_reason=done.finish_reason if done and not task.cancelled else "cancelled",
            prompt_tokens=task.tokens.count,
            generated_tokens=done.generated_tokens if done else None,
            metrics=done.metrics if done else None,
            device=self._runner.device,
            seed=task.seed,
            unfinished=self._unfinished(),
        )

    def _unfinished(self) -> str | None:
        """Return why an answer that has a form is not of that form."""
        form, done = self._task.form, self._task.finished
        ended = "cancelled" if done is None or self._task.cancelled else done.finish_reason
        if form is None or (ended == "stop" and done is not None and done.by_the_model):
            return None
        reasons = {
            "length": f"reached its limit of {done.generated_tokens if done else 0} tokens",
            "stop": "was ended by a stop text",
            "cancelled": "was cancelled",
        }
        what = "JSON document" if form == "json_schema" else f"match of the {form}"
        return f"the answer {reasons[ended]}, so it is no whole {what}"
