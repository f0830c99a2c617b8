r"""Regular expressions as trees: the part of Python's syntax that one pass over a stream can match.

What would need to look back or ahead over more than a character (groups that are referred to,
lookaround, atomic groups) is refused by name. Two things differ from Python's `re`:

- `^` and `$` are the beginning and the end of a line, `\A` and `\Z` those of the answer.
- `*?` and its like mean what `*` means: the longest match counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Letter:
    """One character; a class such as `[^a-z]` is judged by `re` itself."""

    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Place:
    """A condition on the characters before and behind: one of `^ $ A Z b B`."""

    kind: str


@dataclass(frozen=True)
class Sequence:
    """One part behind the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """Any of the options."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """A part `least` to `most` times; without `most`, as often as it comes."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = "Letter | Place | Sequence | Choice | Repeat"

#: Letters behind a backslash that stand for themselves in `re` too, or for a class of characters.
_CLASS_ESCAPES = frozenset("dDsSwW")
_PLACE_ESCAPES = frozenset("AZbB")
_LETTER_ESCAPES = frozenset("nrtfva")
#: What `re` keeps for sets of classes, and warns about.
_RESERVED_IN_CLASSES = ("[", "--", "&&", "~~", "||")
_MOST_REPEATS = 1000
_COUNTED = re.compile(r"\{(\d*)(,?)(\d*)\}")
_GROUP = re.compile(r"\?(?::|P<[A-Za-z_]\w*>)")
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_CODE_POINT = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}")


class ExpressionRefused(ValueError):
    """The expression is wrong, or says what a stream cannot be asked."""


def parsed(text: str) -> Node:
    """Return an expression as a tree.

    Raises:
        ExpressionRefused: with the place and the reason.
    """
    flags = _FLAGS.match(text)
    return _Parser(text, flags).whole(flags.end() if flags else 0)


def can_be_empty(node: Node) -> bool:
    """Say whether a node may match without a character; conditions alone are no match."""
    match node:
        case Letter():
            return False
        case Place():
            return True
        case Sequence(parts):
            return all(map(can_be_empty, parts))
        case Choice(options):
            return any(map(can_be_empty, options))
        case Repeat(part, least, _):
            return least == 0 or can_be_empty(part)


class _Parser:
    """Recursive descent over the text of an expression."""

    def __init__(self, text: str, flags: re.Match[str] | None) -> None:
        given = flags[1] if flags else ""
        self._text = text
        self._at = 0
        self._flags = re.NOFLAG
        if "i" in given:
            self._flags |= re.IGNORECASE
        if "s" in given:
            self._flags |= re.DOTALL

    def whole(self, start: int) -> Node:
        self._at = start
        node = self._choice()
        if self._at < len(self._text):
            raise self._refused("')' without '('")
        return node

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._taken("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, part: Node) -> Node:
        limits = self._limits()
        if limits is None:
            return part
        if isinstance(part, Place):
            raise self._refused("a condition cannot be repeated")
        self._taken("?")
        if self._peek() in {"*", "+"} or self._limits() is not None:
            raise self._refused("a repetition is repeated; put the first into (?:...)")
        return Repeat(part, *limits)

    def _limits(self) -> tuple[int, int | None] | None:
        for sign, limits in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._taken(sign):
                return limits
        found = _COUNTED.match(self._text, self._at)
        if found is None or not (found[1] or found[3]):
            return None
        self._at = found.end()
        least = int(found[1] or 0)
        most = int(found[3]) if found[3] else None if found[2] else least
        if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
            raise self._refused(f"{found[0]}: counts go from 0 to {_MOST_REPEATS} and upwards")
        return least, most

    def _atom(self) -> Node:
        char = self._peek()
        if char == "(":
            return self._group()
        if char in {"*", "+", "?"}:
            raise self._refused("nothing to repeat")
        self._at += 1
        if char in {"^", "$"}:
            return Place(char)
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        return self._letter("." if char == "." else re.escape(char))

    def _group(self) -> Node:
        self._at += 1
        opened = _GROUP.match(self._text, self._at)
        if opened:
            self._at = opened.end()
        elif self._peek() == "?":
            raise self._refused(
                "lookaround, comments and groups with a condition cannot be matched in a stream"
            )
        node = self._choice()
        if not self._taken(")"):
            raise self._refused("'(' without ')'")
        return node

    def _class(self) -> Node:
        start = self._at - 1
        self._taken("^")
        self._taken("]")
        while self._peek() not in {"", "]"}:
            if self._text.startswith(_RESERVED_IN_CLASSES, self._at):
                raise self._refused(f"escape '{self._peek()}' within [...]")
            self._at += 2 if self._peek() == "\\" else 1
        if not self._taken("]"):
            raise self._refused("'[' without ']'")
        return self._letter(self._text[start : self._at])

    def _escape(self) -> Node:
        char = self._peek()
        point = _CODE_POINT.match(self._text, self._at)
        self._at = point.end() if point else self._at + 1
        if char in _PLACE_ESCAPES:
            return Place(char)
        if point or char in _CLASS_ESCAPES or char in _LETTER_ESCAPES:
            return self._letter("\\" + (point[0] if point else char))
        if char == "" or char.isalnum():
            raise self._refused(f"\\{char} cannot be matched in a stream")
        return self._letter(re.escape(char))

    def _letter(self, source: str) -> Letter:
        try:
            return Letter(re.compile(source, self._flags))
        except re.error as exc:
            raise self._refused(f"{source}: {exc.msg}") from exc

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _taken(self, char: str) -> bool:
        there = self._peek() == char
        self._at += there
        return there

    def _refused(self, reason: str) -> ExpressionRefused:
        return ExpressionRefused(f"at character {self._at}: {reason}")
