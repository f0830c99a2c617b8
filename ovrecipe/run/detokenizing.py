"""Text of tokens as they come, for many answers in one call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


class StopTexts:
    """The texts at which an answer ends; what may become one is held back."""

    def __init__(self, texts: Collection[str], *, included: bool) -> None:
        self._texts = texts
        self._included = included
        self._held = ""
        #: Whether one of them came.
        self.found = False

    def take(self, piece: str, *, last: bool) -> str:
        """Take more of an answer's text, and return what can be shown of it by now."""
        self._held += piece
        places = [(self._held.find(text), len(text)) for text in self._texts if text in self._held]
        if places:
            self.found = True
            at, length = min(places)
            return self._held[: at + length if self._included else at]
        kept = 0 if last else self._undecided()
        shown = self._held[: len(self._held) - kept]
        self._held = self._held[len(shown) :]
        return shown

    def _undecided(self) -> int:
        """Return how many of the last characters may be the beginning of a stop text."""
        longest = max(map(len, self._texts), default=1) - 1
        return next(
            (
                length
                for length in range(min(longest, len(self._held)), 0, -1)
                if any(text.startswith(self._held[-length:]) for text in self._texts)
            ),
            0,
        )


def new_texts(decoder: Decoder, growing: Sequence[tuple[TokenText, bool]]) -> list[str]:
    """Return the new text of each answer; all are decoded together. True marks a finished one."""
    rows = [row for text, _ in growing for row in text.rows()]
    decoded = iter(decoder.decode(rows))
    return [text.take(next(decoded), next(decoded), last=last) for text, last in growing]
