"""Text of tokens as they come, for many answers in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

#: What stands for bytes that are no character yet.
UNFINISHED = "\ufffd"


class Decoder(Protocol):
    """Whoever knows the text of tokens."""

    def decode(self, rows: Sequence[Sequence[int]], *, special: bool = False) -> list[str]:
        """Return the text of each row of tokens."""


class TokenText:
    """The tokens of one answer, of which some are shown as text already.

    A token's text depends on the one before (spaces, parts of a character), so those that were
    shown last are decoded again with the new ones, and their text is taken off.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._before = 0
        self._shown = 0

    def rows(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the tokens shown last, and those followed by the new ones."""
        return self.tokens[self._before : self._shown], self.tokens[self._before :]

    def take(self, shown: str, whole: str, *, last: bool) -> str:
        """Return the new text, "" while it ends within a character; given the text of `rows`."""
        if whole.endswith(UNFINISHED) and not last:
            return ""
        self._before, self._shown = self._shown, len(self.tokens)
        return whole[len(shown) :]


def new_texts(decoder: Decoder, growing: Sequence[tuple[TokenText, bool]]) -> list[str]:
    """Return the new text of each answer; all are decoded together. True marks a finished one."""
    rows = [row for text, _ in growing for row in text.rows()]
    decoded = iter(decoder.decode(rows))
    return [text.take(next(decoded), next(decoded), last=last) for text, last in growing]
