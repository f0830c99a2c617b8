"""A model's reasoning, apart from what it says: `<think>` to `</think>` at the beginning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

START, END = "<think>", "</think>"


def begins_reasoning(prompt: str, form: Mapping[str, Any]) -> bool:
    """Return whether a prompt has begun the reasoning; an answer of a `form` is none of it."""
    return not form and prompt.rstrip().endswith(START)


class ReasoningReader:
    """Divides an answer as it comes; however it is cut, the parts are the same.

    Only reasoning at the very beginning counts: later the markers are text. With `begins_inside`
    the prompt has written the first marker.
    """

    def __init__(self, *, begins_inside: bool = False) -> None:
        self._state = "inside" if begins_inside else "before"
        self._held = ""
        self._begun = False

    def feed(self, text: str) -> tuple[str, str]:
        """Return the reasoning and the text that are known by now."""
        if self._state == "behind":
            return "", text
        self._held += text
        if self._state == "before":
            blank = self._held.lstrip()
            if not blank or (START.startswith(blank) and blank != START):
                return "", ""
            if not blank.startswith(START):
                self._state, said, self._held = "behind", self._held, ""
                return "", said
            self._state, self._held = "inside", blank.removeprefix(START)
        if self._state == "inside":
            return self._inside()
        return self._behind()

    def finish(self) -> tuple[str, str]:
        """Return what was held back."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "inside" else ("", held)

    def _inside(self) -> tuple[str, str]:
        """Return the reasoning without the line breaks around it."""
        if not self._begun:
            self._held = self._held.lstrip("\n")
            self._begun = bool(self._held)
        thought, end, rest = self._held.partition(END)
        if end:
            self._state, self._held = "closing", rest
            _, said = self._behind()
            return thought.rstrip("\n"), said
        most = min(len(END) - 1, len(self._held))
        kept = next((n for n in range(most, 0, -1) if END.startswith(self._held[-n:])), 0)
        decided = self._held[: len(self._held) - kept].rstrip("\n")
        self._held = self._held[len(decided) :]
        return decided, ""

    def _behind(self) -> tuple[str, str]:
        """Drop the blank lines between the reasoning and the answer."""
        said = self._held.lstrip()
        if said:
            self._state, self._held = "behind", ""
        return "", said
