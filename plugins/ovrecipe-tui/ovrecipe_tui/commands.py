"""The commands that begin with a slash: those of `ovrecipe chat`."""

from __future__ import annotations

from typing import NamedTuple

HELP = """\
/help       show this
/reset      forget what was said, as Ctrl+N
/stats      show figures, or stop showing them
/save FILE  write Markdown, or JSON as NAME.json
/exit       leave, as Ctrl+Q
//text      say something that begins with a slash
Ctrl+C stops an answer, or else leaves, as Ctrl+D."""
#: With a word behind it none of these is meant: it is a question about something else.
ALONE = ("help", "reset", "stats", "exit")


class Command(NamedTuple):
    """`/name argument`."""

    name: str
    argument: str


def command_in(text: str) -> Command | None:
    """Return the command that a text is, or None for what the model is asked."""
    if not text.startswith("/") or text.startswith("//"):
        return None
    name, _, argument = text[1:].replace("\n", " ").partition(" ")
    return Command(name, argument.strip())


def question_in(text: str) -> str:
    """Return what the model is asked: `//text` asks `/text`."""
    return text.removeprefix("/")


def text_that_asks(question: str) -> str:
    """Return what has to be written to ask a question: the way back of `question_in`."""
    return f"/{question}" if question.startswith("/") else question
