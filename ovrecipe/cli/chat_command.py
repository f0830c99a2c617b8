"""`ovrecipe chat`: a conversation on a terminal, or through a pipe."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer  # noqa: TC002 - typer reads the annotations

from ovrecipe.cli.generation_options import (
    TARGET,
    Options,
    console_of,
    default_target,
    frontend_of,
    opened,
    stdin,
    with_options,
)
from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, PromptRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Console, Frontend
    from ovrecipe.run.chat import Chat


HELP = """\
/help        show this
/reset       forget what was said
/stats       show figures after each answer, or stop showing them
/save FILE   write the conversation as JSON
/exit        leave, like Ctrl-D
//text       say something that begins with a slash
Ctrl-C stops an answer."""


def lines_of(stdin: TextIO) -> Iterator[str | None]:
    """Yield the user's lines; None for a Ctrl-C at the prompt.

    A terminal gets line editing and a history for this conversation.
    """
    if not stdin.isatty():
        yield from _piped(stdin)
        return
    _switch_on_editing()
    while True:
        try:
            yield input("> ")
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            yield None


def _piped(stdin: TextIO) -> Iterator[str]:
    for number, line in enumerate(stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise PromptRefused(f"stdin, line {number}: not UTF-8") from exc


def _switch_on_editing() -> None:
    """Import readline, which is all it takes; Windows' console edits lines by itself."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return


class ChatLoop:
    """One conversation between a stream of lines and a model."""

    def __init__(
        self,
        chat: Chat,
        frontend: Provided[Frontend],
        console: Console,
        *,
        interactive: bool,
    ) -> None:
        """`interactive`: errors of one turn are shown and the next line is read."""
        self._chat = chat
        self._frontend = frontend
        self._console = console
        self._interactive = interactive
        self._over = False
        #: The commands that stand alone; /save has a word behind it.
        self._commands: Mapping[str, Callable[[], None]] = {
            "help": self._help,
            "reset": self._reset,
            "stats": self._toggle_stats,
            "exit": self._exit,
        }

    def run(self, lines: Iterator[str | None]) -> None:
        """Answer every line until they end, or one says /exit."""
        for line in lines:
            if line is None:
                self._say("\n(Ctrl-D leaves)")
            elif line.strip():
                self._turn_or_say_why_not(line)
            if self._over:
                return

    def _turn_or_say_why_not(self, line: str) -> None:
        command = line.strip()
        try:
            if command.startswith("//"):
                self._answer(command[1:])
            elif command.startswith("/"):
                self._obey(command[1:])
            else:
                self._answer(line)
        except OvrecipeError as error:
            if not self._interactive:
                raise
            self._say(str(error))

    def _answer(self, prompt: str) -> None:
        try:
            stream = self._chat.stream(prompt)
            with stream as answer, self._frontend.blamed():
                self._frontend.provider.show(answer, self._console)
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            self._say("\n(stopped)")

    def _obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name == "save":
            self._save(argument.strip())
        elif name not in self._commands:
            self._say(f"there is no /{name}; /help lists what there is, //{name} says it")
        elif argument:
            self._say(f"/{name} stands alone; //{line} says it")
        else:
            self._commands[name]()

    def _help(self) -> None:
        self._say(HELP)

    def _exit(self) -> None:
        self._over = True

    def _reset(self) -> None:
        self._chat.reset()
        self._say("(forgotten)")

    def _toggle_stats(self) -> None:
        self._console = replace(self._console, stats=not self._console.stats)
        self._say(f"(figures {'on' if self._console.stats else 'off'})")

    def _save(self, name: str) -> None:
        if not name:
            self._say("say where: /save FILE")
            return
        text = json.dumps(list(self._chat.history), ensure_ascii=False, indent=2) + "\n"
        try:
            Path(name).expanduser().write_text(text, encoding="utf-8")
        except OSError as exc:
            self._say(f"{name}: {exc.strerror}")
            return
        self._say(f"({len(self._chat.history)} messages in {name})")

    def _say(self, text: str) -> None:
        """Tell the user something that is no answer."""
        print(text, file=self._console.err, flush=True)


@with_options
def command(
    ctx: typer.Context, target: Annotated[str | None, TARGET] = None, *, options: Options
) -> None:
    """Talk with a model that remembers what was said.

    Ctrl-C stops an answer, Ctrl-D leaves; /help lists what else can be typed. From a pipe each
    line is one prompt. Without NAME it is the model that is configured.

    Example: ovrecipe chat smollm2-135m:int4
    """
    from ovrecipe.hooks.roles import ChatFrontend

    session = session_of(ctx)
    console = console_of(options)
    target = target or default_target(session)
    shown_by = frontend_of(session, target, options.frontend)
    with (
        opened(session, target, options, warm_up=True) as runner,
        closing(runner.chat(options.system, **options.generation)) as chat,
    ):
        if isinstance(shown_by.provider, ChatFrontend):
            with shown_by.blamed():
                shown_by.provider.chat(chat, console)
            return
        lines = stdin()
        loop = ChatLoop(chat, shown_by, console, interactive=lines.isatty())
        loop.run(lines_of(lines))
