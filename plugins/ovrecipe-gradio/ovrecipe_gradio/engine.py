"""One model for all browsers: turns are served one after the other, first come, first served.

A page chooses its variant and device for itself. When the turn of a page comes and another model
is loaded, that one is freed and the page's is loaded: no answer ever comes from a model that the
page does not show.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from ovrecipe.errors import RunError
from ovrecipe_gradio.turn import Choice, Question, State, Turn

if TYPE_CHECKING:
    from ovrecipe import Runner

    OpenModel: TypeAlias = Callable[[Choice, Callable[[str], None]], Runner]

#: Each waiting page holds one of gradio's threads; without a bound Stop would find none left.
MOST_WAITING = 24
#: A model that is being loaded cannot be interrupted; the program does not wait for it longer.
CLOSING_SECONDS = 3.0


class Engine:
    """Owns the loaded model; `open_model` loads another, announces notes, and may raise."""

    def __init__(
        self,
        open_model: OpenModel,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_model = open_model
        self._clock = clock
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._waiting: deque[Turn] = deque()
        self._running: Turn | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._runner: Runner | None = None
        self._choice: Choice | None = None
        self._notes: list[str] = []

    @property
    def choice(self) -> Choice | None:
        """What is loaded now; None while another is loaded and after a load that failed."""
        return self._choice

    def notes(self, choice: Choice) -> tuple[str, ...]:
        """Return what was announced when the model was loaded; nothing for another model."""
        return tuple(self._notes) if choice == self._choice else ()

    def adopt(self, runner: Runner, notes: Sequence[str] = ()) -> Choice:
        """Take over a model that is loaded already, before the first turn."""
        self._runner = runner
        self._notes = list(notes)
        self._choice = Choice(runner.variant, runner.device)
        return self._choice

    def submit(self, choice: Choice, question: Question | None = None) -> Turn:
        """Queue a question, or without one the loading of a model.

        Raises:
            RunError: too many wait, or the server is closing.
        """
        with self._lock:
            if self._closed:
                raise RunError("the server is closing")
            if len(self._waiting) >= MOST_WAITING:
                raise RunError(f"{MOST_WAITING} others are waiting", remedy="try again later")
            number = next(self._numbers)
            turn = Turn(choice, question, number=number, clock=self._clock)
            self._waiting.append(turn)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ovrecipe-web", daemon=True)
                self._thread.start()
        return turn

    def ahead_of(self, turn: Turn) -> int:
        """Return how many turns come first; one that was stopped takes no time."""
        with self._lock:
            if turn not in self._waiting:
                return 0
            before = list(self._waiting)[: self._waiting.index(turn)]
            return sum(not earlier.stopped for earlier in before) + (self._running is not None)

    def close(self) -> None:
        """Stop all turns and free the model."""
        with self._lock:
            self._closed = True
            turns = [*self._waiting, *([self._running] if self._running else [])]
            thread = self._thread
        for turn in turns:
            turn.stop()
        if thread is not None:
            thread.join(CLOSING_SECONDS)
        if thread is None or not thread.is_alive():
            self._free()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            self._serve(turn)

    def _next(self) -> Turn | None:
        with self._lock:
            self._running = self._waiting.popleft() if self._waiting else None
            if self._running is None:
                self._thread = None
            return self._running

    def _serve(self, turn: Turn) -> None:
        if not turn.begin():
            return
        try:
            runner = self._loaded(turn)
            if turn.question is not None and not turn.stopped:
                turn.answer(runner, turn.question)
            turn.end()
        except BaseException as exc:  # noqa: BLE001 - the page shows it
            turn.fail(exc)

    def _loaded(self, turn: Turn) -> Runner:
        """Return the model that the turn wants; two do not have to fit into memory."""
        if self._runner is not None and turn.choice == self._choice:
            return self._runner
        turn.enter(State.LOADING)
        self._free()
        self._notes = []
        self._runner = self._open_model(turn.choice, self._notes.append)
        self._choice = turn.choice
        return self._runner

    def _free(self) -> None:
        if self._runner is not None:
            self._runner.close()
        self._runner = self._choice = None
