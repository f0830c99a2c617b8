"""A running generation, as its caller sees it."""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self

from ovrecipe.errors import RunError
from ovrecipe.run.pipeline import FinishReason, GenerationResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.run.chain import FilterChain
    from ovrecipe.run.chat_template import Message
    from ovrecipe.run.pipeline import Finished, OnText, Pipeline, Tokens


class Job:
    """One generation as the generating thread sees it.

    `segments` carries text; None wakes a waiting reader, who then looks at `ended` and
    `cancelled`.
    """

    def __init__(self, tokens: Tokens, config: object) -> None:
        self.tokens = tokens
        self.config = config
        self.segments: SimpleQueue[str | None] = SimpleQueue()
        self.ended = threading.Event()
        self.cancelled = False
        self.finished: Finished | None = None
        self.error: BaseException | None = None
        self._running_on: Pipeline | None = None
        self._counting = threading.Lock()

    def cancel(self) -> None:
        """Ask the generating thread to stop at its next token, and wake the reader."""
        self.cancelled = True
        self.segments.put(None)

    def run(self, pipeline: Pipeline) -> None:
        """Generate, unless cancelled while waiting; an error is kept for the reader."""
        try:
            if not self.cancelled:
                self._running_on = pipeline
                self.finished = pipeline.generate(self.tokens, self.config, self._streamer())
        except BaseException as exc:  # noqa: BLE001 - raised again where the caller stands
            self.error = exc
        finally:
            with self._counting:
                self._running_on = None
            self.ended.set()
            self.segments.put(None)

    def count(self, text: str) -> int | None:
        """Return how many tokens a text of the model is; None unless the job is running.

        Under a lock, for the pipeline may be closed as soon as its last job has ended.
        """
        with self._counting:
            if self._running_on is None:
                return None
            return self._running_on.encode(text, add_special_tokens=False).count if text else 0

    def _streamer(self) -> OnText:
        """Return what is called for every token: as little as can be, for it holds the GIL.

        When the main thread has left, nobody reads any more, and the process shall end.
        """
        put = self.segments.put
        main_is_alive = threading.main_thread().is_alive

        def on_text(text: str) -> bool:
            put(text)
            return not self.cancelled and main_is_alive()

        return on_text


class JobQueue:
    """Runs jobs first come, first served; its thread lives only while there is work."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Job) -> None:
        """Queue a job.

        Raises:
            RunError: the model was closed.
        """
        with self._lock:
            self._refuse_if_closed()
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ovrecipe-generate")
                self._thread.start()

    def require_open(self) -> None:
        """Refuse work on a closed model.

        Raises:
            RunError: the model was closed.
        """
        with self._lock:
            self._refuse_if_closed()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RunError(
                "the model was closed, or its conversation switched to another variant",
                remedy="load it again",
            )

    def close(self) -> None:
        """Cancel what runs and what waits, and return when nothing generates any more."""
        with self._lock:
            self._closed = True
            jobs = [*self._waiting, *([self._running] if self._running else [])]
            thread = self._thread
        for each in jobs:
            each.cancel()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job.run(self._pipeline)

    def _next(self) -> Job | None:
        with self._lock:
            self._running = self._waiting.popleft() if self._waiting else None
            if self._running is None:
                self._thread = None
            return self._running


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
        self,
        job: Job,
        *,
        chain: FilterChain,
        device: str,
        messages: Sequence[Message] = (),
        recipe: Recipe,
        variant: str,
        on_end: Callable[[GenerationResult | None], None] | None = None,
    ) -> None:
        """Wrap a submitted job; `on_end` is told the result, or None when it failed.

        `messages`, `recipe` and `variant` are what is answered, and what answers.
        """
        self.messages = tuple(messages)
        self.recipe = recipe
        self.variant = variant
        self._job = job
        self._chain = chain
        self._device = device
        self._on_end = on_end
        self._raw: list[str] = []
        self._shown: list[str] = []
        self._result: GenerationResult | None = None
        self._over = False
        self._cut = False
        self._ending = threading.Lock()

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
            self._job.cancel()
            self._end(None)
            raise
        self._end(self._summary())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """Do not let the model work for nobody."""
        job = getattr(self, "_job", None)
        if job is not None and not job.ended.is_set():
            job.cancel()

    def cancel(self) -> None:
        """End the generation, from any thread; a loop over it stops within 0.3 s."""
        self._job.cancel()

    def close(self) -> None:
        """Cancel what is still running; what was shown so far becomes the result."""
        if not self._over:
            self._job.cancel()
            self._end(self._summary())

    @property
    def question(self) -> str:
        """The last message, which is answered."""
        return self.messages[-1]["content"] if self.messages else ""

    def history_text(self) -> str:
        """Return the answer as the history has it: without filters that are for display only."""
        kept = self._chain.kept()
        return "".join(self._shown if kept is None else kept.over(self._raw))

    @property
    def running(self) -> bool:
        """Whether the answer may still grow."""
        return not self._over and not self._job.cancelled

    def tokens_so_far(self) -> int | None:
        """Return how many tokens have come, hidden ones included; None unless it is running.

        For figures while the text streams: it costs about a millisecond for 200 tokens, so ask a
        few times a second. The newest two or three are missing, which GenAI holds back until the
        next token can no longer change their text; `result` has the exact number.
        """
        return self._job.count("".join(self._raw))

    @property
    def result(self) -> GenerationResult:
        """The result, once the loop has ended or the generation was cancelled.

        Raises:
            RunError: it is still running, or it failed.
        """
        if self._job.cancelled:
            self.close()
        if self._result is None:
            state = "failed" if self._over else "is still running; iterate over it first"
            raise RunError(f"no result: the generation {state}")
        return self._result

    def _segments(self) -> Iterator[str]:
        pieces = self._pieces()
        for text in self._chain.over(pieces):
            if self._cut:
                break  # what filters held back of a text that has no end
            self._shown.append(text)
            yield text
        for _ in pieces:
            continue  # a filter may end before the model does
        if self._job.error is not None and not self._job.cancelled:
            raise self._job.error

    def _pieces(self) -> Iterator[str]:
        """Yield the model's text as it comes; raises nothing, for filters read from it."""
        ended = False
        while not ended:
            first = self._next_piece()
            # Looked at before the queue is emptied: what an ended job wrote is in it by then.
            ended = self._job.ended.is_set()
            text = first + self._waiting_text()
            if self._job.cancelled:
                break
            self._raw.append(text)
            if text:
                yield text
            if not ended:
                self._job.ended.wait(SEGMENT_SECONDS)
        self._cut = self._job.cancelled or self._job.error is not None

    def _next_piece(self) -> str:
        """Wait for the next text; it is empty when the job ended or was cancelled."""
        while not self._job.ended.is_set():
            try:
                return self._job.segments.get(timeout=WAKE_SECONDS) or ""
            except Empty:
                continue
        return ""

    def _waiting_text(self) -> str:
        """Return all text that came meanwhile."""
        pieces: list[str] = []
        try:
            while True:
                pieces.append(self._job.segments.get_nowait() or "")
        except Empty:
            return "".join(pieces)

    def _end(self, result: GenerationResult | None) -> None:
        """Keep the first result: a loop and a `close` on two threads may both come here."""
        with self._ending:
            if self._over:
                return
            self._over = True
            self._result = result
        if self._on_end is not None:
            self._on_end(result)

    def _summary(self) -> GenerationResult:
        if self._job.cancelled:
            self._job.ended.wait(PATIENCE_SECONDS)
        finished = self._job.finished
        return GenerationResult(
            text="".join(self._shown),
            finish_reason=_reason(self._job),
            prompt_tokens=self._job.tokens.count,
            generated_tokens=finished.generated_tokens if finished else None,
            metrics=finished.metrics if finished else None,
            device=self._device,
        )


def _reason(job: Job) -> FinishReason:
    if job.cancelled or job.finished is None:
        return "cancelled"
    return job.finished.finish_reason
