"""Another variant taking the place of the model in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe import Chat


class Loading:
    """Switches a conversation to a variant, on a thread."""

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
