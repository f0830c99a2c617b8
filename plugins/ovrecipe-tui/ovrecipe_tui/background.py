"""Work on a thread behind the screen: an answer that comes, a variant that loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe import Chat, Generation, GenerationResult


class Turn:
    """Iterates over an answer on a thread; the screen takes what has come when it draws.

    The model is not slowed down by the screen that way: a segment costs an append to a list, and
    the screen draws as often as it likes.
    """

    def __init__(self, chat: Chat, question: str) -> None:
        self.question = question
        self.result: GenerationResult | None = None
        self.error: BaseException | None = None
        self._chat = chat
        self._answer: Generation | None = None
        self._stopped = False
        self._segments: list[str] = []
        self._taken = 0

    def run(self) -> None:
        """Generate to the end; an error is kept for the screen."""
        try:
            self._answer = self._chat.stream(self.question)
            with self._answer:
                if self._stopped:
                    self._answer.cancel()
                for segment in self._answer:
                    self._segments.append(segment)
            self.result = self._answer.result
        except BaseException as error:  # noqa: BLE001 - shown on the screen, where the user is
            self.error = error

    def stop(self) -> None:
        """End the answer, from any thread, also before it has begun."""
        self._stopped = True
        if self._answer is not None:
            self._answer.cancel()

    def take(self) -> str:
        """Return what came since the last call."""
        come = self._segments[self._taken :]
        self._taken += len(come)
        return "".join(come)


class Loading:
    """Switches a conversation to another variant, on a thread."""

    def __init__(self, chat: Chat, variant: str) -> None:
        self.variant = variant
        self.error: BaseException | None = None
        self._chat = chat

    def run(self) -> None:
        """Load; an error is kept for the screen, and the conversation goes on as it was."""
        try:
            self._chat.switch(self.variant)
        except BaseException as error:  # noqa: BLE001 - shown on the screen, where the user is
            self.error = error
