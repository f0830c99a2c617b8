"""`ovrecipe chat`: a conversation on a terminal, or through a pipe."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer  # noqa: TC002 - typer reads the annotations

from ovrecipe.cli import generation_options as options
from ovrecipe.cli.run_command import frontend_of, opened
from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, PromptRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Console, Frontend
    from ovrecipe.run.chat import Chat


HELP = """\
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
        self._commands: Mapping[str, Callable[[str], None]] = {
            "help": lambda _: self._say(HELP),
            "reset": lambda _: self._reset(),
            "stats": lambda _: self._toggle_stats(),
            "save": self._save,
        }

    def run(self, lines: Iterator[str | None]) -> None:
        """Answer every line until they end, or one says /exit."""
        for line in lines:
            if line is None:
                self._say("\n(Ctrl-D leaves)")
            elif line.strip() == "/exit":
                return
            elif line.strip():
                self._turn_or_say_why_not(line)

    def _turn_or_say_why_not(self, line: str) -> None:
        try:
            self._turn(line)
        except OvrecipeError as error:
            if not self._interactive:
                raise
            self._say(str(error))

    def _turn(self, line: str) -> None:
        if line.startswith("/") and not line.startswith("//"):
            self._obey(line[1:])
            return
        try:
            stream = self._chat.stream(line.removeprefix("/"))
            with stream as answer, self._frontend.blamed():
                self._frontend.provider.show(answer, self._console)
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            self._say("\n(stopped)")

    def _obey(self, line: str) -> None:
        name, _, argument = line.partition(" ")
        if name not in self._commands:
            self._say(f"there is no /{name}; /help lists what there is, //{name} says it")
            return
        self._commands[name](argument.strip())

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


def command(
    ctx: typer.Context,
    target: options.Target,
    *,
    device: options.DeviceName = "CPU",
    system: options.System = None,
    greedy: options.Greedy = False,
    seed: options.Seed = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    more: options.More = None,
    frontend: options.FrontendName = "console",
    stats: options.Stats = False,
) -> None:
    """Talk with a model that remembers what was said.

    Ctrl-C stops an answer, Ctrl-D leaves; /help lists what else can be typed. From a pipe each
    line is one instruction.

    Example: ovrecipe chat smollm2-135m:int4
    """
    from ovrecipe.hooks.roles import ChatFrontend, Console

    session = session_of(ctx)
    generation = options.generation_of(
        more,
        greedy=greedy,
        rng_seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
    )
    shown_by = frontend_of(session, target, frontend)
    console = Console(out=sys.stdout, err=sys.stderr, stats=stats)
    runner = opened(session, target, device=device, warm_up=True)
    with closing(runner.chat(system, **generation)) as chat:
        if isinstance(shown_by.provider, ChatFrontend):
            with shown_by.blamed():
                shown_by.provider.chat(chat, console)
            return
        interactive = sys.stdin.isatty()
        loop = ChatLoop(chat, shown_by, console, interactive=interactive)
        loop.run(lines_of(sys.stdin))
