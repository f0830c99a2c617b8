"""The frontend that ovrecipe calls: a conversation on the whole screen, or one answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from ovrecipe.errors import PluginError
from ovrecipe_tui.transcript import figures

if TYPE_CHECKING:
    from ovrecipe import Chat, GenerationResult
    from ovrecipe.hooks.roles import Console, ShownGeneration


class TuiFrontend:
    """A chat on the whole screen."""

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Write one answer as it comes: with a full screen it would vanish when that closes."""
        for segment in generation:
            console.out.write(segment)
            console.out.flush()
        console.out.write("\n")
        _write_remarks(generation.result, console)

    def chat(self, conversation: Chat, console: Console) -> None:
        """Run until the user leaves.

        Raises:
            PluginError: there is no terminal.
            RuntimeError: the screen failed; Textual has printed the traceback.
        """
        # Textual reads the keys from stdin and draws on stderr.
        refuse_without_terminal(sys.stdin, console.err)
        from ovrecipe_tui.app import ChatApp

        app = ChatApp(conversation)
        app.run()
        if app.return_code:
            raise RuntimeError("the screen failed; the traceback is above")


def _write_remarks(result: GenerationResult, console: Console) -> None:
    """Say what the console says of an answer: that it was cut, and with `stats` its figures."""
    if result.finish_reason == "length":
        tokens = result.generated_tokens
        console.err.write(f"[cut after {tokens} tokens; --max-new-tokens N for more]\n")
    if console.stats:
        seed = "" if result.seed is None else f" · seed {result.seed}"
        console.err.write(f"[{figures(result)}{seed} · on {result.device}]\n")


def refuse_without_terminal(*streams: TextIO) -> None:
    """Say what to do instead, before anything is drawn into a pipe.

    Raises:
        PluginError: a stream is no terminal.
    """
    if not all(stream.isatty() for stream in streams):
        raise PluginError(
            "frontend 'tui' needs a terminal, and stdin or stderr is something else",
            remedy="leave out --frontend tui to talk through a pipe",
        )
