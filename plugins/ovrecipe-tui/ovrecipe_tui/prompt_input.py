"""The text area in which the user writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.actions import SkipAction
from textual.message import Message
from textual.widgets import TextArea

if TYPE_CHECKING:
    from textual.events import Key


class PromptInput(TextArea):
    """Some lines of text; Enter sends them, the arrows bring back what was sent before."""

    #: Keys with a meaning of their own here. No bindings: those with priority are looked at before
    #: the letters typed in front of them have arrived, so that a quick Enter would find nothing.
    ACTIONS: ClassVar[dict[str, str]] = {
        "enter": "send",
        "ctrl+j": "new_line",
        "shift+enter": "new_line",
        "alt+enter": "new_line",
        "up": "older",
        "down": "newer",
    }

    class Sent(Message):
        """The user has sent a text: a question or a command."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self) -> None:
        super().__init__(placeholder="Ask something", compact=True, show_line_numbers=False)
        self._sent: list[str] = []
        self._shown = 0

    def remember(self, text: str) -> None:
        """Keep what was sent, and begin anew."""
        if not self._sent or self._sent[-1] != text:
            self._sent.append(text)
        self._shown = len(self._sent)
        self.clear()

    def bring_back(self, text: str) -> None:
        """Show a text that was sent, to be sent again or mended; not over what is written."""
        if not self.text:
            self._write(text)

    async def on_key(self, event: Key) -> None:
        """Do what Enter and the arrows mean here; the rest is written."""
        if event.key in self.ACTIONS:
            event.prevent_default()
            event.stop()
            await self.run_action(self.ACTIONS[event.key])

    def action_send(self) -> None:
        """Send the text, unless it is blank."""
        if self.text.strip():
            self.post_message(self.Sent(self.text.strip()))

    def action_new_line(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_delete_right(self) -> None:
        """Delete a letter; without any, leave Ctrl-D to the screen, as shells do."""
        if not self.text:
            raise SkipAction
        super().action_delete_right()

    def action_older(self) -> None:
        """Go up one line, or from the first one to what was sent before."""
        if self.cursor_at_first_line and self._shown > 0:
            self._show(self._shown - 1)
        else:
            self.action_cursor_up()

    def action_newer(self) -> None:
        """Go down one line, or from the last one to what was sent after that."""
        if self.cursor_at_last_line and self._shown < len(self._sent):
            self._show(self._shown + 1)
        else:
            self.action_cursor_down()

    def _show(self, number: int) -> None:
        self._shown = number
        self._write(self._sent[number] if number < len(self._sent) else "")

    def _write(self, text: str) -> None:
        self.text = text
        self.move_cursor(self.document.end)
