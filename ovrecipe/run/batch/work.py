"""Asking an engine all lines of a batch, and writing the answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from ovrecipe.errors import EngineFailed, OvrecipeError
from ovrecipe.run.batch.lines import Line, read_line, written

if TYPE_CHECKING:
    from ovrecipe.run.engine import Deliver, Delta
    from ovrecipe.run.prepared import Prompt
    from ovrecipe.run.prompt import ChatTemplate

#: How many lines are read ahead of the first that is not answered, for each engine.
WINDOW = 512
#: How often whoever watches is told, in seconds.
TICK = 0.5


class Begun(Protocol):
    """One prompt that was asked; `answering` is None until somebody works on it."""

    answering: Any


class Asks(Protocol):
    """What a batch asks: an `Engine`, or what stands for many of them."""

    template: ChatTemplate
    #: The artifact's own, of its generation_config.json.
    parameters: Mapping[str, Any]
    failure: EngineFailed | None

    def submit(
        self, prompt: Prompt, deliver: Deliver, *, logprobs: bool = False, **generation: Any
    ) -> Begun:
        """Ask for an answer; `deliver` is called on one other thread, for all prompts."""

    def cancel(self, request: Any) -> None:
        """End what was begun."""

    def close(self) -> None:
        """End all of it."""


@dataclass
class Counts:
    """How far a batch is."""

    answered: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0


@dataclass(eq=False)
class Asked:
    """One prompt of a line, on the engine; `deliver` runs on the engine's thread."""

    line: Line
    index: int
    ended: SimpleQueue[Asked]
    counts: Counts
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    last: Delta | None = None
    request: Begun | None = None

    def deliver(self, delta: Delta) -> None:
        """Take what a step brought."""
        self.counts.generated_tokens += len(delta.tokens)
        self.logprobs += delta.logprobs
        if delta.last:
            self.last = delta
            self.ended.put(self)


class Batch:
    """Lines that are answered many at once, with an engine that is opened again when it fails.

    Of those that were being answered when it failed, each is then asked alone: so one that makes it
    fail is found, and costs no other line its answer.
    """

    def __init__(
        self,
        open_engine: Callable[[], Asks],
        texts: Iterator[tuple[int, str]],
        *,
        write: Callable[[str], None],
        generation: Mapping[str, Any],
        watch: Callable[[Counts], None] = lambda _: None,
        window: int = WINDOW,
    ) -> None:
        self._open_engine, self._texts = open_engine, texts
        self._write, self._watch = write, watch
        self._generation, self._window = generation, window
        self._engine: Asks | None = None
        self._ended: SimpleQueue[Asked] = SimpleQueue()
        self._in_order: deque[Line] = deque()
        self._asked: list[Asked] = []
        self._again: deque[Line] = deque()
        self._alone: deque[Line] = deque()
        self.counts = Counts()

    def run(self) -> Counts:
        """Answer all lines, and return how it went.

        Raises:
            OvrecipeError: the model cannot be loaded; or the output cannot be written.
        """
        try:
            while self._fill() or self._in_order:
                self._flush()
                if self._asked:
                    self._wait()
                self._watch(self.counts)
        finally:
            if self._engine is not None:
                self._engine.close()
        return self.counts

    def _fill(self) -> bool:
        """Ask as much as is asked at once; return whether there is anything left."""
        if self._engine is None or self._engine.failure is not None:
            self._reopen()
        assert self._engine is not None, "it was opened just now"
        if self._alone:
            if not self._asked:
                self._ask(self._alone.popleft())
            return True
        while self._again:
            self._ask(self._again.popleft())
        while len(self._in_order) < self._window:
            found = next(self._texts, None)
            if found is None:
                return False
            number, text = found
            line = read_line(
                text,
                number,
                template=self._engine.template,
                generation=self._generation,
                own=self._engine.parameters,
            )
            self._in_order.append(line)
            if line.row is None:
                self._ask(line)
        return True

    def _reopen(self) -> None:
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._engine = self._open_engine()

    def _ask(self, line: Line) -> None:
        assert self._engine is not None, "lines are asked of an engine"
        asked = []
        try:
            for index, (prompt, generation) in enumerate(line.asks):
                one = Asked(line, index, self._ended, self.counts)
                one.request = self._engine.submit(
                    prompt,
                    one.deliver,
                    logprobs=line.question.logprobs,
                    **generation,
                )
                asked.append(one)
        except EngineFailed:
            self._again.append(line)
        except OvrecipeError as error:
            line.refuse(error)
            for one in asked:
                assert one.request is not None, "it was asked"
                self._engine.cancel(one.request)
        self._asked += asked

    def _wait(self) -> None:
        """Take in the next answers."""
        try:
            one = self._ended.get(timeout=TICK)
            while True:
                self._take(one)
                one = self._ended.get_nowait()
        except Empty:
            return

    def _take(self, one: Asked) -> None:
        self._asked.remove(one)
        line, last = one.line, one.last
        assert last is not None, "it has ended"
        if line.row is not None:
            return  # it was refused meanwhile
        if isinstance(last.error, EngineFailed):
            self._failed(one, last.error)
        elif last.error is not None:
            line.refuse(last.error)
        elif last.result is not None:
            self.counts.prompt_tokens += last.result.prompt_tokens
            line.take(one.index, last.result, one.logprobs)

    def _failed(self, one: Asked, error: EngineFailed) -> None:
        """Ask a line again, alone if it may be the one that the engine failed for."""
        line = one.line
        if any(line in waiting for waiting in (self._alone, self._again)):
            return
        line.begin_again()
        if line.suspected:
            line.refuse(error)
        elif one.request is not None and one.request.answering is None:
            self._again.append(line)
        else:
            line.suspected = True
            self._alone.append(line)

    def _flush(self) -> None:
        while self._in_order and self._in_order[0].row is not None:
            row = self._in_order.popleft().row
            assert row is not None, "its row is known"
            self._write(written(row))
            self.counts.answered += 1
            self.counts.errors += _is_error(row)


def _is_error(row: Mapping[str, Any]) -> bool:
    response = row.get("response")
    if isinstance(response, dict) and "status_code" in response:
        return bool(response["status_code"] != 200)
    return "error" in row
