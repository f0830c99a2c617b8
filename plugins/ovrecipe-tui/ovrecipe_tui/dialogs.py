"""The two dialogs: which variant to go on with, and where to save the conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from ovrecipe_tui.transcript import free_name, megabytes, save

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from ovrecipe import Chat


#: With priority, for the line of a name is marked at first and would be copied by Ctrl-C.
BACK = Binding("escape,ctrl+c", "dismiss", "Back", priority=True)


class VariantPicker(ModalScreen[str | None]):
    """Returns the variant to go on with, or None when the user thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [BACK]

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self._chat = chat

    def compose(self) -> ComposeResult:
        """List what is built; what is not cannot be chosen."""
        with Vertical(classes="dialog"):
            yield Label(f"Variants of {self._chat.runner.recipe.name}", classes="title")
            yield OptionList(*self._options())
            yield Label("Enter loads · Esc goes back", classes="hint")

    def on_mount(self) -> None:
        """Begin at what is in use."""
        choice = self.query_one(OptionList)
        choice.highlighted = choice.get_option_index(self._chat.runner.variant)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer with the variant."""
        self.dismiss(event.option.id)

    def _options(self) -> list[Option]:
        built = self._chat.variants()
        names = dict.fromkeys([*self._chat.runner.recipe.variants, *built])
        width = max(map(len, names))
        return [self._option(name, width, built.get(name)) for name in names]

    def _option(self, name: str, width: int, size_bytes: int | None) -> Option:
        mark = "●" if name == self._chat.runner.variant else " "
        size = "not built" if size_bytes is None else megabytes(size_bytes)
        return Option(f"{mark} {name:{width}}  {size:>9}", id=name, disabled=size_bytes is None)


class SaveDialog(ModalScreen[Path | None]):
    """Returns the file that was written, or None when the user thought better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [BACK]

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
        try:
            path = save(self._chat, self._folder, event.value)
        except OSError as error:
            self.query_one(".hint", Label).update(f"{event.value}: {error.strerror}")
            self.query_one(".hint").add_class("failed")
        else:
            self.dismiss(path)
