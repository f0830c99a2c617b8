"""The built-in output filters: between the model's text and what is shown.

Each holds back only what may still become a marker, so at most one marker's length, and gives
the same text however the stream is cut. Where markers overlap, the leftmost counts, and of those
that begin at one place the longest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Sequence

Marker = Annotated[str, Field(min_length=1)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarkerOptions(_Options):
    """Options of `strip_markers` and `stop_at`."""

    markers: Annotated[tuple[Marker, ...], Field(min_length=1)]


class ReasoningOptions(_Options):
    """Options of `hide_reasoning`.

    `begins_inside` is for models whose chat template writes the start marker into the prompt, so
    that the answer begins within the reasoning.
    """

    start: Marker = "<think>"
    end: Marker = "</think>"
    begins_inside: bool = False


class Scanner:
    """A text that arrives in pieces, split at its markers."""

    def __init__(self, markers: Sequence[str]) -> None:
        longest_first = sorted(set(markers), key=len, reverse=True)
        self._markers = tuple(longest_first)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._text = ""
        self._at = 0

    def feed(self, text: str) -> None:
        """Take the next piece; what was taken before is forgotten here, once for all of it."""
        self._text = self._text[self._at :] + text
        self._at = 0

    def take(self, *, to_the_end: bool = False) -> tuple[str, bool]:
        """Return the decided text up to the next marker, and whether the marker was there.

        With `to_the_end` nothing follows, and everything is decided.
        """
        start = self._at
        decided = len(self._text) if to_the_end else self._decided()
        found = self._pattern.search(self._text, start)
        if found and found.start() < decided:
            self._at = found.end()
            return self._text[start : found.start()], True
        self._at = decided
        return self._text[start:decided], False

    def rest(self) -> str:
        """Return what was not taken yet, and forget it."""
        text = self._text[self._at :]
        self._text, self._at = "", 0
        return text

    def _decided(self) -> int:
        """Return where the first marker that is not complete yet may begin."""
        end = len(self._text)
        for start in range(max(self._at, end - len(self._markers[0]) + 1), end):
            rest = self._text[start:]
            if any(len(each) > len(rest) and each.startswith(rest) for each in self._markers):
                return start
        return end


class StripMarkers:
    """`strip_markers: {markers: ["<|im_end|>"]}` removes exactly these texts.

    What their removal joins is not looked at again.
    """

    options_model = MarkerOptions

    def __init__(self, options: MarkerOptions) -> None:
        self._scanner = Scanner(options.markers)

    def feed(self, text: str) -> str:
        """Return what is no marker and cannot become one."""
        self._scanner.feed(text)
        return self._taken(to_the_end=False)

    def finish(self) -> str:
        """Return what looked like the beginning of a marker."""
        return self._taken(to_the_end=True)

    def _taken(self, *, to_the_end: bool) -> str:
        shown, found = [], True
        while found:
            text, found = self._scanner.take(to_the_end=to_the_end)
            shown.append(text)
        return "".join(shown)


class StopAt:
    """`stop_at: {markers: ["### End"]}` drops the first of these texts and all behind it.

    It hides; the model goes on. The recipe's `prompt.stop` ends the generation itself.
    """

    options_model = MarkerOptions

    def __init__(self, options: MarkerOptions) -> None:
        self._scanner = Scanner(options.markers)
        self._stopped = False

    def feed(self, text: str) -> str:
        """Return what stands before the first marker."""
        if self._stopped:
            return ""
        self._scanner.feed(text)
        return self._taken(to_the_end=False)

    def finish(self) -> str:
        """Return what looked like the beginning of a marker, unless one had come."""
        return "" if self._stopped else self._taken(to_the_end=True)

    def _taken(self, *, to_the_end: bool) -> str:
        text, self._stopped = self._scanner.take(to_the_end=to_the_end)
        return text


class HideReasoning:
    """`hide_reasoning` drops `<think>...</think>` and the white space behind it.

    Without an end, all behind the start is dropped.
    """

    options_model = ReasoningOptions

    def __init__(self, options: ReasoningOptions) -> None:
        self._start, self._end = Scanner([options.start]), Scanner([options.end])
        self._hidden = options.begins_inside
        self._after_the_end = False

    def feed(self, text: str) -> str:
        """Return what is no reasoning."""
        (self._end if self._hidden else self._start).feed(text)
        return self._taken(to_the_end=False)

    def finish(self) -> str:
        """Return what looked like a start marker; reasoning that never ended stays hidden."""
        return self._taken(to_the_end=True)

    def _taken(self, *, to_the_end: bool) -> str:
        shown, found = [], True
        while found:
            scanner = self._end if self._hidden else self._start
            text, found = scanner.take(to_the_end=to_the_end)
            if not self._hidden:
                shown.append(self._without_leading_space(text))
            if found:
                self._switch(scanner)
        return "".join(shown)

    def _switch(self, scanner: Scanner) -> None:
        self._after_the_end = self._hidden
        self._hidden = not self._hidden
        (self._end if self._hidden else self._start).feed(scanner.rest())

    def _without_leading_space(self, text: str) -> str:
        if self._after_the_end:
            text = text.lstrip()
            self._after_the_end = not text
        return text
