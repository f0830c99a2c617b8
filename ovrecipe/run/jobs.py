"""Generations in the order in which they were asked for, on one thread at a time.

`LLMPipeline.generate` is not thread-safe, and callers may be many: each gets a `Job` at once and
its turn when those before it have ended.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ovrecipe.errors import RunError

if TYPE_CHECKING:
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
