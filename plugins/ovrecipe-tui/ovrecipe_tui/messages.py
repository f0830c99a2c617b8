"""The widgets of a conversation: questions, answers, notices, help and errors."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from textual.containers import Vertical
from textual.widgets import Collapsible, Markdown, Static

from ovrecipe.errors import OvrecipeError
from ovrecipe_tui.commands import HELP

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore
    from textual.app import ComposeResult


def parser() -> MarkdownIt:
    """Return the reader of answers: tags are text, and the model's line breaks are kept."""
    made = MarkdownIt("gfm-like", {"html": False})
    made.core.ruler.push("keep_line_breaks", _keep_line_breaks)
    return made


def _keep_line_breaks(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"


class Welcome(Static):
    """What to do, until something was said."""

    def __init__(self, name: str) -> None:
        keys = "Enter sends, Ctrl+J begins a new line, ↑ brings back what was asked."
        super().__init__(f"{name}\n\n{keys}\n/help lists commands.", markup=False)


class Question(Static):
    """What the user asked, letter by letter as it was."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class Notice(Static):
    """What happened to the conversation."""

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class Help(Static):
    """The commands."""

    def __init__(self) -> None:
        super().__init__(HELP, markup=False)


class Answer(Vertical):
    """An answer that grows, and its figures below."""

    def __init__(self) -> None:
        super().__init__()
        self._text = Markdown(parser_factory=parser, open_links=False)
        self._figures = Static("…", markup=False, classes="figures")

    def compose(self) -> ComposeResult:
        """Put the figures below the text."""
        yield self._text
        yield self._figures

    @property
    def text(self) -> str:
        """The answer so far, before it was drawn."""
        return self._text.source

    async def append(self, text: str) -> None:
        """Show more of it; only its last block is drawn again."""
        if text:
            await self._text.append(text)

    def close(self, figures: str) -> None:
        """Show what it took, or nothing."""
        self._figures.update(figures)
        self._figures.display = bool(figures)


class Failure(Vertical):
    """An error where it happened; what to do about it, or where it came from."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def compose(self) -> ComposeResult:
        """Show a defect's traceback only to who wants to see it."""
        if isinstance(self.error, OvrecipeError):
            yield Static(str(self.error), markup=False)
            return
        yield Static(f"{type(self.error).__name__}: {self.error}", markup=False)
        lines = "".join(traceback.format_exception(self.error))
        yield Collapsible(Static(lines, markup=False), title="A defect; its traceback")
