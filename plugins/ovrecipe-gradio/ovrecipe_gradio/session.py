"""What belongs to one browser: the turn that runs for it, and what it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ovrecipe.errors import RunError

if TYPE_CHECKING:
    from ovrecipe_gradio.turn import Turn

SINGLE: Literal["Single instruction"] = "Single instruction"
CHAT: Literal["Chat"] = "Chat"


class Exchange(BaseModel):
    """An instruction and what was shown for it; `figures` by their names on the page."""

    model_config = ConfigDict(frozen=True)

    instruction: str
    answer: str
    figures: dict[str, str] = {}
    caption: str = ""

    def messages(self) -> list[dict[str, str]]:
        """Return the two messages that the model sees of it."""
        return [
            {"role": "user", "content": self.instruction},
            {"role": "assistant", "content": self.answer},
        ]


class Memory(BaseModel):
    """What a browser keeps over a reload, in its own storage; the server keeps no copy.

    The turns are what was shown, as in `ovrecipe.Chat`: a turn that failed leaves no trace, a
    stopped one stays as far as it was shown. `draft` is an instruction without an answer yet.
    """

    model_config = ConfigDict(frozen=True)

    mode: Literal["Single instruction", "Chat"] = SINGLE
    variant: str = ""
    device: str = ""
    single: tuple[Exchange, ...] = ()
    chat: tuple[Exchange, ...] = ()
    draft: str = ""

    @classmethod
    def of(cls, kept: Any) -> Memory:
        """Return what a browser sent; nothing is remembered from what another version wrote."""
        try:
            return cls.model_validate(kept or {})
        except ValidationError:
            return cls()

    def turns(self) -> tuple[Exchange, ...]:
        """Return what the mode of now shows."""
        return self.chat if self.mode == CHAT else self.single

    def changed(self, **changes: Any) -> Memory:
        """Return the memory with other values."""
        return self.model_copy(update=changes)

    def with_turns(self, turns: tuple[Exchange, ...]) -> Memory:
        """Return the memory after another answer in the mode of now."""
        return self.changed(**{"chat" if self.mode == CHAT else "single": turns}, draft="")


class Session:
    """The turn that runs for this browser."""

    def __init__(self) -> None:
        self.turn: Turn | None = None

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

    def clear(self) -> bool:
        """Stop the turn and forget it; return whether there was one."""
        self.stop()
        followed = self.turn is not None
        self.turn = None
        return followed
