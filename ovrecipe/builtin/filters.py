"""The built-in output filters: between the model's text and what is shown.

Each holds back only what may still become a marker, so at most one marker's length, and gives
the same text however the stream is cut. Where markers overlap, the leftmost counts, and of those
that begin at one place the longest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovrecipe.hooks.roles import OutputFilter

Marker = Annotated[str, Field(min_length=1)]


class MarkerOptions(BaseModel):
    """Options of `strip_markers` and `stop_at`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    markers: Annotated[tuple[Marker, ...], Field(min_length=1)]


class ReasoningOptions(BaseModel):
    """Options of `hide_reasoning`.

    `begins_inside` is for models whose chat template writes the start marker into the prompt, so
    that the answer begins within the reasoning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
            if any(len(mark) > len(rest) and mark.startswith(rest) for mark in self._markers):
                return start
        return end


class _Filter:
    """Shows what a kind of filter makes of the text that is decided by now."""

    def __init__(self, markers: Sequence[str]) -> None:
        self._scanner = Scanner(markers)

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown by now."""
        self._scanner.feed(text)
        return "".join(self._shown(to_the_end=False))

    def finish(self) -> str:
        """Return what was held back because it looked like the beginning of a marker."""
        return "".join(self._shown(to_the_end=True))

    def _shown(self, *, to_the_end: bool) -> Iterator[str]:
        raise NotImplementedError


class MarkerStripper(_Filter):
    """Removes the markers and nothing else; what their removal joins is not looked at again."""

    def _shown(self, *, to_the_end: bool) -> Iterator[str]:
        is_found = True
        while is_found:
            text, is_found = self._scanner.take(to_the_end=to_the_end)
            yield text


class Stopper(_Filter):
    """Ends the text at the first marker."""

    _has_stopped = False

    def _shown(self, *, to_the_end: bool) -> Iterator[str]:
        text, is_found = self._scanner.take(to_the_end=to_the_end)
        if not self._has_stopped:
            yield text
        self._has_stopped |= is_found


class ReasoningHider(_Filter):
    """Hides what stands between two markers, and the white space behind the second.

    Reasoning that never ends stays hidden.
    """

    def __init__(self, options: ReasoningOptions) -> None:
        self._is_hidden = options.begins_inside
        self._scanner, self._other = Scanner([options.start]), Scanner([options.end])
        if self._is_hidden:
            self._scanner, self._other = self._other, self._scanner
        self._is_after_the_end = False

    def _shown(self, *, to_the_end: bool) -> Iterator[str]:
        is_found = True
        while is_found:
            text, is_found = self._scanner.take(to_the_end=to_the_end)
            if not self._is_hidden:
                yield self._without_leading_space(text)
            if is_found:
                self._is_after_the_end = self._is_hidden
                self._is_hidden = not self._is_hidden
                self._other.feed(self._scanner.rest())
                self._scanner, self._other = self._other, self._scanner

    def _without_leading_space(self, text: str) -> str:
        if self._is_after_the_end:
            text = text.lstrip()
            self._is_after_the_end = not text
        return text


class StripMarkers:
    """`strip_markers: {markers: ["<|im_end|>"]}` removes exactly these texts."""

    options_model: type[BaseModel] | None = MarkerOptions

    def create(self, options: Any) -> OutputFilter:
        """Return a filter for one generation."""
        return MarkerStripper(options.markers)


class StopAt:
    """`stop_at: {markers: ["### End"]}` drops the first of these texts and all behind it.

    It hides; the model goes on. The recipe's `prompt.stop` ends the generation itself.
    """

    options_model: type[BaseModel] | None = MarkerOptions

    def create(self, options: Any) -> OutputFilter:
        """Return a filter for one generation."""
        return Stopper(options.markers)


class HideReasoning:
    """`hide_reasoning` drops `<think>...</think>`; without an end, all behind the start."""

    options_model: type[BaseModel] | None = ReasoningOptions

    def create(self, options: Any) -> OutputFilter:
        """Return a filter for one generation."""
        return ReasoningHider(options)
