"""The built-in output filters: between the model's text and what is shown.

Each holds back only what may still become a marker, so at most one marker's length, and gives
the same text however the stream is cut. Where markers overlap, the leftmost counts, and of those
that begin at one place the longest.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

from pydantic import BaseModel, Field

Marker = Annotated[str, Field(min_length=1)]


class MarkerOptions(BaseModel, frozen=True, extra="forbid"):
    """Options of `strip_markers` and `stop_at`."""

    markers: Annotated[tuple[Marker, ...], Field(min_length=1)]


class ReasoningOptions(BaseModel, frozen=True, extra="forbid"):
    """Options of `hide_reasoning`.

    `begins_inside` is for models whose chat template writes the start marker into the prompt, so
    that the answer begins within the reasoning.
    """

    start: Marker = "<think>"
    end: Marker = "</think>"
    begins_inside: bool = False


class Scanner:
    """Pieces of text, read up to one marker after the other."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._is_whole = False
        self._text = ""
        self._at = 0
        #: Whether a marker ended what was read last, and not the end of the text.
        self.found = True

    def until(self, *markers: str) -> Iterator[str]:
        """Yield the text before the next marker, as soon as it is decided, and drop the marker."""
        longest_first = sorted(set(markers), key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, longest_first)))
        self.found = False
        while True:
            decided = len(self._text) if self._is_whole else self._decided(longest_first)
            match = pattern.search(self._text, self._at)
            self.found = match is not None and match.start() < decided
            end, behind = match.span() if match and self.found else (decided, decided)
            if self._at < end:
                yield self._text[self._at : end]
            self._at = behind
            if self.found or self._is_whole:
                return
            piece = next(self._pieces, None)
            if piece is None:
                self._is_whole = True
            else:
                # What was taken is forgotten here, once for all of it.
                self._text, self._at = self._text[self._at :] + piece, 0

    def _decided(self, longest_first: Sequence[str]) -> int:
        """Return where the first marker that is not complete yet may begin."""
        end = len(self._text)
        for start in range(max(self._at, end - len(longest_first[0]) + 1), end):
            rest = self._text[start:]
            if any(len(marker) > len(rest) and marker.startswith(rest) for marker in longest_first):
                return start
        return end


def strip_markers(pieces: Iterable[str], options: MarkerOptions) -> Iterator[str]:
    """`strip_markers: {markers: ["<|im_end|>"]}` removes exactly these texts.

    What their removal joins is not looked at again.
    """
    scanner = Scanner(pieces)
    while scanner.found:
        yield from scanner.until(*options.markers)


def stop_at(pieces: Iterable[str], options: MarkerOptions) -> Iterator[str]:
    """`stop_at: {markers: ["### End"]}` drops the first of these texts and all behind it.

    It hides; the model goes on. The recipe's `prompt.stop` ends the generation itself.
    """
    yield from Scanner(pieces).until(*options.markers)


def hide_reasoning(pieces: Iterable[str], options: ReasoningOptions) -> Iterator[str]:
    """`hide_reasoning` drops `<think>...</think>` and the white space behind it.

    Without an end, all behind the start is dropped.
    """
    scanner = Scanner(pieces)
    if not options.begins_inside:
        yield from scanner.until(options.start)
    while scanner.found:
        for _ in scanner.until(options.end):
            pass
        is_space = True
        for text in scanner.until(options.start):
            shown = text.lstrip() if is_space else text
            is_space = is_space and not shown
            yield shown


strip_markers.options_model = MarkerOptions  # type: ignore[attr-defined]
stop_at.options_model = MarkerOptions  # type: ignore[attr-defined]
hide_reasoning.options_model = ReasoningOptions  # type: ignore[attr-defined]
