"""`ovrecipe chat`: a conversation on a terminal, or through a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer  # noqa: TC002 - typer reads the annotations

from ovrecipe.cli.generation_options import (
    MaybeTarget,
    Options,
    check_whole,
    default_target,
    with_options,
)
from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, PromptRefused
from ovrecipe.hooks.roles import ChatFrontend, Console, Frontend

if TYPE_CHECKING:
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.run.runner import Chat

HELP = """\
/help        show this
/reset       forget what was said
/stats       show figures after each answer, or stop showing them
/save FILE   write the conversation as JSON
/exit        leave, like Ctrl-D
//text       say something that begins with a slash
Ctrl-C stops an answer."""


def lines_of(stdin: TextIO) -> Iterator[str | None]:
    """Yield the user's lines, on a terminal with editing and history; None for a Ctrl-C there."""
    if not stdin.isatty():
        yield from _piped(stdin)
        return
    with suppress(ImportError):  # Windows' console edits lines by itself
        import readline  # noqa: F401
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


@dataclass(eq=False)
class ChatLoop:
    """One conversation between a stream of lines and a model."""

    chat: Chat
    frontend: Provided[Frontend]
    console: Console
    _: KW_ONLY
    #: Errors of one turn are shown, and the next line is read.
    interactive: bool
    _over: bool = False

    def run(self, lines: Iterator[str | None]) -> None:
        """Answer every line until they end, or one says /exit."""
        for line in lines:
            if line is None:
                self._say("\n(Ctrl-D leaves)")
            elif line.strip():
                self._turn(line)
            if self._over:
                return

    def _turn(self, line: str) -> None:
        """Answer or obey; at a terminal an error is shown."""
        command = line.strip()
        try:
            if command.startswith("/") and not command.startswith("//"):
                self._obey(command[1:])
            else:
                self._answer(command[1:] if command.startswith("//") else line)
        except OvrecipeError as error:
            if not self.interactive:
                raise
            self._say(str(error))

    def _answer(self, prompt: str) -> None:
        try:
            with self.chat.stream(prompt) as answer, self.frontend.blamed():
                self.frontend.provider.show(answer, self.console)
            check_whole(answer.result)
        except KeyboardInterrupt:
            if not self.interactive:
                raise
            self._say("\n(stopped)")

    def _obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        match name:
            case "save":
                self._save(argument.strip())
            case "help" | "reset" | "stats" | "exit" if argument:
                self._say(f"/{name} stands alone; //{line} says it")
            case "help":
                self._say(HELP)
            case "reset":
                self.chat.reset()
                self._say("(forgotten)")
            case "stats":
                self.console = replace(self.console, stats=not self.console.stats)
                self._say(f"(figures {'on' if self.console.stats else 'off'})")
            case "exit":
                self._over = True
            case _:
                self._say(f"there is no /{name}; /help lists what there is, //{name} says it")

    def _save(self, name: str) -> None:
        if not name:
            self._say("say where: /save FILE")
            return
        history = self.chat.history
        text = json.dumps(list(history), ensure_ascii=False, indent=2) + "\n"
        try:
            Path(name).expanduser().write_text(text, encoding="utf-8")
            self._say(f"({len(history)} messages in {name})")
        except OSError as exc:
            self._say(f"{name}: {exc.strerror}")

    def _say(self, text: str) -> None:
        """Tell the user something that is no answer."""
        print(text, file=self.console.err, flush=True)


@with_options
def command(ctx: typer.Context, target: MaybeTarget = None, *, options: Options) -> None:
    """Talk with a model that remembers what was said.

    Ctrl-C stops an answer, Ctrl-D leaves; /help lists what else can be typed. From a pipe each
    line is one prompt. Without NAME it is the model that is configured.

    Examples: 'ovrecipe chat smollm2-135m:int4', 'ovrecipe chat ./out' for an export.
    """
    session, console = session_of(ctx), options.console
    target = target or default_target(session)
    shown_by = options.frontend_of(session, target)
    with (
        options.opened(session, target, warm_up=True) as runner,
        closing(runner.chat(options.system, **options.generation)) as chat,
    ):
        if isinstance(shown_by.provider, ChatFrontend):
            with shown_by.blamed():
                shown_by.provider.chat(chat, console)
        else:
            loop = ChatLoop(chat, shown_by, console, interactive=sys.stdin.isatty())
            loop.run(lines_of(sys.stdin))
