"""One answer as it comes, or the loading of a model: what a page waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe import Generation, GenerationResult, Runner


@dataclass(frozen=True)
class Choice:
    """Which model answers."""

    variant: str
    device: str


@dataclass(frozen=True)
class Question:
    """What is asked, with the turns before it and the parameters of the page."""

    instruction: str
    system: str | None = None
    history: Sequence[dict[str, str]] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)


class State(StrEnum):
    """How far a turn is."""

    WAITING = "waiting"
    LOADING = "loading"
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


OVER = (State.DONE, State.STOPPED, State.FAILED)


@dataclass(frozen=True)
class Pace:
    """Tokens that have come, and the seconds and tokens since the first was seen."""

    tokens: int
    seconds: float
    since_first: int

    @property
    def throughput(self) -> float | None:
        """Tokens per second since the first token; None until there are two moments."""
        return self.since_first / self.seconds if self.seconds > 0 and self.since_first else None


class Turn:
    """Written by the engine's thread, read by the page's.

    `text` grows; `over` is true once, and then `text`, `result` and `error` are final.
    """

    def __init__(
        self,
        choice: Choice,
        question: Question | None,
        *,
        number: int,
        clock: Callable[[], float],
    ) -> None:
        """Wait for a model, and ask it `question` unless that is None."""
        self.number = number
        self.choice = choice
        self.question = question
        self.state = State.WAITING
        self.text = ""
        self.result: GenerationResult | None = None
        self.error: BaseException | None = None
        self.stopped = False
        self._clock = clock
        self._entered = clock()
        self._begun = False
        self._generation: Generation | None = None
        self._first: tuple[float, int] | None = None
        self._pace: Pace | None = None
        self._lock = threading.Lock()
        self._changed = threading.Event()

    @property
    def over(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in OVER

    @property
    def seconds(self) -> float:
        """How long the state of now has lasted."""
        return self._clock() - self._entered

    def enter(self, state: State) -> None:
        """Go on to the next state."""
        self.state = state
        self._entered = self._clock()
        self._changed.set()

    def wait_for_change(self, seconds: float) -> None:
        """Return when there is something new to show, or after `seconds`."""
        self._changed.wait(seconds)
        self._changed.clear()

    def begin(self) -> bool:
        """Take the turn out of the queue; False when it has left by itself."""
        with self._lock:
            self._begun = not self.stopped
            return self._begun

    def stop(self) -> None:
        """End the answer, or leave the queue; a model that is being loaded is loaded to the end."""
        with self._lock:
            self.stopped = True
            if self._generation is not None:
                self._generation.cancel()
            elif not self._begun:
                self.enter(State.STOPPED)

    def answer(self, runner: Runner, question: Question) -> None:
        """Ask the model and take down what it says, until it ends or is stopped."""
        with self._started(runner, question) as generation:
            self.enter(State.ANSWERING)
            for segment in generation:
                self.text += segment
                self._changed.set()
            self.result = generation.result

    def _started(self, runner: Runner, question: Question) -> Generation:
        messages = runner.conversation(
            question.instruction, system=question.system, history=question.history
        )
        with self._lock:
            self._generation = runner.stream_messages(messages, **question.generation)
            if self.stopped:
                self._generation.cancel()
            return self._generation

    def end(self) -> None:
        """Note that all went well, or was stopped."""
        self.enter(State.STOPPED if self.stopped else State.DONE)

    def fail(self, error: BaseException) -> None:
        """Note what went wrong; what was said until then stays."""
        self.error = error
        self.enter(State.FAILED)

    def pace(self) -> Pace | None:
        """Return how fast the answer comes; None while there is no token.

        The tokens that were there at the first look are not counted into the speed: nobody knows
        how long they took. So the prompt's time is not in it either.
        """
        generation = self._generation
        tokens = generation.tokens_so_far() if generation is not None else None
        if not tokens:
            return self._pace
        now = self._clock()
        if self._first is None:
            self._first = (now, tokens)
        began, at_first = self._first
        self._pace = Pace(tokens, now - began, tokens - at_first)
        return self._pace
