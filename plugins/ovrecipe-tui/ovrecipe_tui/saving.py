"""The question where to save the conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from ovrecipe_tui.transcript import free_name, save

if TYPE_CHECKING:
    from ovrecipe import Chat
    from textual.app import ComposeResult


class SaveDialog(ModalScreen[Path | None]):
    """Returns the file that was written, or None when the user thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back")]

    def __init__(self, chat: Chat, folder: Path) -> None:
        super().__init__()
        self._chat = chat
        self._folder = folder

    def compose(self) -> ComposeResult:
        """Propose a name that is free."""
        with Vertical(classes="dialog"):
            yield Label("Save the conversation as", classes="title")
            yield Input(free_name(self._chat, self._folder))
            yield Label(
                "Enter saves Markdown, or JSON as NAME.json · Esc goes back", classes="hint"
            )

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Write, or say below the name why not."""
        path = self._folder / Path(event.value).expanduser()
        try:
            save(self._chat, path)
        except OSError as error:
            self.query_one(".hint", Label).update(f"{event.value}: {error.strerror}")
            self.query_one(".hint").add_class("failed")
            return
        self.dismiss(path)
