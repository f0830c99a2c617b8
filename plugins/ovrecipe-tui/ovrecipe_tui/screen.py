"""The screen of the chat: what the keys and the commands do, and how answers get onto it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Label

from ovrecipe_tui.background import Loading, Turn
from ovrecipe_tui.commands import ALONE, command_in, question_in, text_that_asks
from ovrecipe_tui.dialogs import SaveDialog, VariantPicker
from ovrecipe_tui.messages import Answer, Failure, Help, Notice, Question, Welcome
from ovrecipe_tui.prompt_input import PromptInput
from ovrecipe_tui.transcript import as_markdown, ending, figures, model_name, save

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.events import Resize
    from textual.timer import Timer
    from textual.widget import Widget
    from textual.worker import Worker

    from ovrecipe import Chat
    from ovrecipe_tui.commands import Command

#: How often a growing answer is drawn. Each time costs the model some milliseconds of a core, and
#: twelve times a second still reads as a steady flow.
DRAW_SECONDS = 1 / 12
#: How long after an answer Ctrl-C is still taken for one that was meant to stop it.
GRACE_SECONDS = 1.0
NEVER = float("-inf")
#: In fewer columns the keys of the footer stand closer together.
ROOMY_COLUMNS = 68


class ChatScreen(Screen[None]):
    """One conversation; at most one answer or one loading model at a time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # The way out is first: a narrow footer is cut at its right end.
        Binding("ctrl+q", "app.quit", "Quit", priority=True),
        Binding("escape", "stop", "Stop", priority=True),
        Binding("ctrl+n", "new", "New", priority=True),
        Binding("ctrl+o", "variants", "Variant", priority=True),
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("ctrl+g", "copy", "Copy", priority=True),
        Binding("ctrl+t", "app.light_or_dark", "Theme", priority=True),
        Binding("ctrl+d", "app.quit", show=False),
        Binding("pageup", "page(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
    ]

    def __init__(self, chat: Chat, folder: Path) -> None:
        super().__init__()
        self._chat = chat
        self._folder = folder
        self._turn: Turn | None = None
        self._loading: Loading | None = None
        self._answer: Answer | None = None
        #: What the user wants as soon as the answer has stopped.
        self._then: Callable[[], None] | None = None
        self._since = 0.0
        self._ended = NEVER
        self._shows_figures = True
        self._drawing: Timer | None = None

    def compose(self) -> ComposeResult:
        """From the top: what answers and what it does, the conversation, the text, the keys."""
        with Horizontal(id="bar"):
            yield Label(model_name(self._chat), id="model", markup=False)
            yield Label(id="state", markup=False)
        with VerticalScroll(id="conversation", can_focus=False):
            yield Welcome(model_name(self._chat))
        yield PromptInput()
        yield Footer()

    def on_mount(self) -> None:
        """Stay at the end of the conversation unless the user scrolls up."""
        self._conversation.anchor()
        self._drawing = self.set_interval(DRAW_SECONDS, self._draw, pause=True)
        self._show_state()
        self._prompt.focus()

    def on_resize(self, event: Resize) -> None:
        """Make the most of a narrow footer."""
        self.query_one(Footer).compact = event.size.width < ROOMY_COLUMNS

    async def on_prompt_input_sent(self, event: PromptInput.Sent) -> None:
        """Obey a command, or ask the model."""
        command = command_in(event.text)
        if command is not None:
            await self._obey(command, event.text)
        elif self._busy:
            self._refuse(f"{self._doing}; Esc stops an answer")
        else:
            self._prompt.remember(event.text)
            await self._ask(question_in(event.text))

    async def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show how an answer, or loading, has ended."""
        if event.worker.is_cancelled:
            # Textual is closing the screen; it cannot end a thread.
            self.stop_answer()
        elif not event.worker.is_finished:
            return
        elif event.worker.group == "answer":
            await self._end_answer()
        elif event.worker.group == "load":
            await self._end_loading()

    def stop_answer(self) -> None:
        """End the answer that is coming, if there is one."""
        if self._turn is not None:
            self._turn.stop()

    def action_stop(self) -> None:
        """End the answer, or say that there is none."""
        if self._turn is None:
            self.notify(f"{self._doing}: there is nothing to stop")
        self.stop_answer()

    def interrupt(self) -> None:
        """Do what Ctrl-C does on a console: stop the answer, drop what is written, or leave."""
        if self._turn is not None:
            self.stop_answer()
        elif self._loading is not None:
            self.notify(f"{self._doing}; Ctrl+Q leaves")
        elif self._prompt.text:
            self._prompt.clear()
        elif monotonic() - self._ended < GRACE_SECONDS:
            self.notify("The answer has ended; Ctrl+C once more leaves")
            self._ended = NEVER
        else:
            self.app.exit()

    def action_new(self) -> None:
        """Begin a new conversation."""
        self._after_the_answer(self._forget)

    def action_variants(self) -> None:
        """Let the user choose another variant."""
        if self._loading is None:
            self.app.push_screen(VariantPicker(self._chat), self._switch)

    def action_save(self) -> None:
        """Write the conversation into a file."""
        if self._has_said_something():
            self.app.push_screen(SaveDialog(self._chat, self._folder), self._tell_where)

    def action_copy(self) -> None:
        """Send the conversation to the clipboard, through the terminal."""
        if self._has_said_something():
            self.app.copy_to_clipboard(as_markdown(self._chat))
            self.notify("The conversation was sent to the terminal's clipboard")

    def action_page(self, direction: int) -> None:
        """Scroll the conversation while the user writes."""
        if direction < 0:
            self._conversation.scroll_page_up()
        else:
            self._conversation.scroll_page_down()

    @property
    def _conversation(self) -> VerticalScroll:
        return self.query_one("#conversation", VerticalScroll)

    @property
    def _prompt(self) -> PromptInput:
        return self.query_one(PromptInput)

    @property
    def _busy(self) -> bool:
        return self._turn is not None or self._loading is not None

    @property
    def _doing(self) -> str:
        if self._loading is not None:
            return f"loading {self._loading.variant}"
        return "ready" if self._turn is None else "answering"

    async def _ask(self, question: str) -> None:
        self._turn, self._answer = Turn(self._chat, question), Answer()
        await self._say(Question(question), self._answer)
        self._conversation.anchor()
        self._begin(self._turn.run, "answer")

    async def _obey(self, command: Command, text: str) -> None:
        """Do what a command says; one that cannot be done stays in the line, to be mended."""
        self._prompt.remember(text)
        if command.argument and command.name in ALONE:
            self._give_back(text, f"/{command.name} stands alone; /{text} says it")
            return
        match command.name:
            case "help":
                await self._say(Help())
                self._conversation.anchor()
            case "reset":
                self.action_new()
            case "stats":
                self._shows_figures = not self._shows_figures
                self.notify(f"Figures {'on' if self._shows_figures else 'off'}")
            case "save" if command.argument:
                self._save(command.argument, text)
            case "save":
                self.action_save()
            case "exit":
                self.app.exit()
            case name:
                reason = f"there is no /{name}; /help lists what there is, //{name} says it"
                self._give_back(text, reason)

    def _save(self, name: str, text: str) -> None:
        if not self._has_said_something():
            return
        try:
            self._tell_where(save(self._chat, self._folder, name))
        except OSError as error:
            self._give_back(text, f"{name}: {error.strerror}")

    def _give_back(self, text: str, reason: str) -> None:
        """Say why a command was not obeyed, and let the user mend it."""
        self._refuse(reason)
        self._prompt.bring_back(text)

    def _refuse(self, reason: str) -> None:
        self.notify(reason, severity="warning", markup=False)

    def _begin(self, work: Callable[[], None], group: str) -> None:
        """Start work on a thread of its own, and draw what comes."""
        self._since = monotonic()
        self.run_worker(work, group=group, thread=True)
        if self._drawing is not None:
            self._drawing.resume()
        self._show_state()

    async def _draw(self) -> None:
        if self._turn is not None and self._answer is not None:
            await self._answer.append(self._turn.take())
        self._show_state()

    def _show_state(self) -> None:
        state = f"◐ {self._doing} {monotonic() - self._since:.0f} s" if self._busy else "● ready"
        label = self.query_one("#state", Label)
        label.update(state)
        label.set_class(self._busy, "busy")

    async def _end_answer(self) -> None:
        turn, answer = self._turn, self._answer
        if turn is None or answer is None:
            return
        await answer.append(turn.take())
        self._turn = self._answer = None
        self._ended = monotonic()
        if turn.result is not None:
            answer.close((figures if self._shows_figures else ending)(turn.result))
        else:
            await self._show_failure(turn, answer)
        self._rest()

    async def _show_failure(self, turn: Turn, answer: Answer) -> None:
        """A failed turn leaves no trace in the conversation: it can be sent again."""
        answer.close("failed; not part of the conversation")
        if turn.error is not None:
            await self._say(Failure(turn.error))
        self._prompt.bring_back(text_that_asks(turn.question))

    async def _end_loading(self) -> None:
        loading = self._loading
        if loading is None:
            return
        self._loading = None
        self.query_one("#model", Label).update(model_name(self._chat))
        if loading.error is not None:
            await self._say(Failure(loading.error))
        seconds = monotonic() - self._since
        await self._say(Notice(f"{model_name(self._chat)}, loaded in {seconds:.1f} s"))
        self._rest()

    def _rest(self) -> None:
        """Go on with what the user wanted meanwhile, or wait for them."""
        if self._drawing is not None:
            self._drawing.pause()
        self._show_state()
        then, self._then = self._then, None
        if then is not None:
            then()

    def _after_the_answer(self, action: Callable[[], None]) -> None:
        if self._busy:
            self._then = action
            self.stop_answer()
        else:
            action()

    def _forget(self) -> None:
        self._chat.reset()
        self._conversation.remove_children()
        self._conversation.mount(Welcome(model_name(self._chat)))
        self._prompt.focus()

    def _switch(self, variant: str | None) -> None:
        if variant is not None and variant != self._chat.runner.variant:
            self._after_the_answer(lambda: self._load(variant))

    def _load(self, variant: str) -> None:
        self._loading = Loading(self._chat, variant)
        self._begin(self._loading.run, "load")

    def _tell_where(self, path: Path | None) -> None:
        if path is not None:
            self.notify(f"Saved as {path}", markup=False)

    def _has_said_something(self) -> bool:
        if not self._chat.history:
            self._refuse("Nothing was said yet")
        return bool(self._chat.history)

    async def _say(self, *messages: Widget) -> None:
        await self._conversation.query(Welcome).remove()
        await self._conversation.mount(*messages)
