"""What the page of one browser remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.errors import RunError
from ovrecipe_gradio.turn import State

if TYPE_CHECKING:
    from ovrecipe_gradio.turn import Turn


class Session:
    """The turn that runs for this browser, and the conversation so far.

    The history has what was shown, as in `ovrecipe.Chat`: a turn that failed leaves no trace, a
    stopped one stays as far as it was shown.
    """

    def __init__(self) -> None:
        self.turn: Turn | None = None
        self.history: list[dict[str, str]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        """Return a new session: gradio copies the first value of a state for each browser."""
        return Session()

    def begin(self, turn: Turn) -> None:
        """Keep the turn, so that Stop finds it.

        Raises:
            RunError: one is running; `turn` is stopped then.
        """
        if self.turn is not None and not self.turn.over:
            turn.stop()
            raise RunError("the answer before is still running", remedy="press Stop first")
        self.turn = turn

    def stop(self) -> None:
        """Stop the turn, if one runs."""
        if self.turn is not None:
            self.turn.stop()

    def clear(self) -> None:
        """Stop the turn and forget everything."""
        self.stop()
        self.turn = None
        self.history = []

    def remember(self, turn: Turn) -> None:
        """Take a turn that is over into the conversation."""
        if turn.question is None or turn.state is State.FAILED or not _is_worth_it(turn):
            return
        self.history = [*self.history, *exchange(turn)]


def _is_worth_it(turn: Turn) -> bool:
    return bool(turn.text) or turn.state is State.DONE


def exchange(turn: Turn) -> list[dict[str, str]]:
    """Return what was asked and what has been answered by now."""
    assert turn.question is not None
    return [
        {"role": "user", "content": turn.question.instruction},
        {"role": "assistant", "content": turn.text},
    ]
