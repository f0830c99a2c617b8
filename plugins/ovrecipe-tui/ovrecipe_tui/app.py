"""Textual's program around the chat: colours, what is printed meanwhile, Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from ovrecipe_tui.screen import ChatScreen

if TYPE_CHECKING:
    from textual.events import Print

    from ovrecipe import Chat


class ChatApp(App[None]):
    """One conversation on the whole screen."""

    CSS_PATH = "style.tcss"
    TITLE = "ovrecipe"
    ENABLE_COMMAND_PALETTE = False
    NOTIFICATION_TIMEOUT = 3

    def __init__(self, chat: Chat, folder: Path | None = None) -> None:
        """`folder` is where transcripts are saved; the working folder unless given."""
        super().__init__()
        self.chat_screen = ChatScreen(chat, folder or Path.cwd())

    def on_mount(self) -> None:
        """Show the conversation, and what others print while it is on the screen."""
        self.begin_capture_print(self)
        self.push_screen(self.chat_screen)

    def on_print(self, event: Print) -> None:
        """Show what was said on stderr: a model that runs another way than asked for says so."""
        if event.stderr and event.text.strip():
            self.notify(event.text.strip(), severity="warning", markup=False)

    def action_light_or_dark(self) -> None:
        """Change between a light and a dark screen."""
        dark = self.current_theme.dark
        self.theme = "textual-light" if dark else "textual-dark"

    def action_help_quit(self) -> None:
        """Do what Ctrl-C does on a console; Textual would only say what quits."""
        self.chat_screen.interrupt()

    def on_unmount(self) -> None:
        """Cancel what is still coming, however the screen was left: nobody waits for it."""
        self.chat_screen.stop_answer()
