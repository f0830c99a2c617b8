"""Reads the YAML of a recipe: YAML 1.2's plain values, places kept, nothing executed.

PyYAML's parser gives events and this module composes them itself. PyYAML's own loaders keep the
last of duplicate keys, read `no` as false, `12:30` as 750 and `1e-3` as text, let a few aliases
grow into gigabytes, and the one in C composes by recursion: 900,000 brackets end the process with
a segmentation fault, which nothing can catch.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from ovrecipe.errors import RecipeSyntaxError

if TYPE_CHECKING:
    from collections.abc import Iterator


Scalar: TypeAlias = "bool | int | float | str | None"
#: What a node holds: a scalar, values by key, or items.
Content: TypeAlias = "Scalar | dict[str, Node] | tuple[Node, ...]"
#: Where something stands: keys and list indices from the top of the document.
Loc: TypeAlias = tuple[str | int, ...]


def dotted(loc: Loc) -> str:
    """Return `variants.int4.passes[0].ratio`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in a file; `shown` is the file's name as users see it, line and column from 1."""

    shown: str
    line: int
    column: int

    def __str__(self) -> str:
        """Return `file:line:column`, which editors and terminals open."""
        return f"{self.shown}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands, and where its key does when it is a mapping's.

    `size` counts the nodes of the value with every alias written out.
    """

    content: Content
    place: Place
    key_place: Place | None = None
    size: int = 1


def plain(node: Node) -> object:
    """Return the tree as dicts, lists and scalars."""
    if isinstance(node.content, dict):
        return {key: plain(value) for key, value in node.content.items()}
    if isinstance(node.content, tuple):
        return [plain(item) for item in node.content]
    return node.content


def place_of(root: Node, loc: Loc, *, of_key: bool = False) -> Place:
    """Return where `loc` stands, or the deepest part of it that is written down.

    A value's own place is returned, unless `of_key` asks for its key or the value is missing.
    """
    node, is_whole = _followed(root, loc)
    return node.place if is_whole and not of_key else node.key_place or node.place


def node_at(root: Node, loc: Loc) -> Node | None:
    """Return what stands at `loc`, None when nothing is written there."""
    node, is_whole = _followed(root, loc)
    return node if is_whole else None


def _followed(root: Node, loc: Loc) -> tuple[Node, bool]:
    """Return the deepest node on the way to `loc`, and whether it is that of `loc`."""
    node = root
    for step in loc:
        content = node.content
        if isinstance(content, dict) and step in content:
            node = content[str(step)]
        elif isinstance(content, tuple) and isinstance(step, int) and step < len(content):
            node = content[step]
        else:
            return node, False
    return node, True


MAX_BYTES = 1_000_000
MAX_DEPTH = 40
#: Nodes with every alias written out; the largest recipe that makes sense has some hundreds.
MAX_NODES = 20_000

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_yaml(data: bytes, shown: str, unusable: list[tuple[Place, str]]) -> Node:
    """Return the one mapping that `data` holds; `shown` is the file's name in messages.

    Single keys and values that no recipe can use are added to `unusable`, each with its place and
    the reason, so that a user learns of them together with all else.

    Raises:
        RecipeSyntaxError: it is not UTF-8, not YAML, not one mapping, or grows out of bounds.
    """
    return _Composer(_text(data, shown), shown, unusable).document()


def _text(data: bytes, shown: str) -> str:
    if len(data) > MAX_BYTES:
        raise RecipeSyntaxError(f"{shown}: has more than {MAX_BYTES:,} bytes; is it a recipe?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_in(data[: error.start].decode("utf-8-sig"), shown)
        raise RecipeSyntaxError(
            f"{place}: byte 0x{data[error.start]:02x} is not UTF-8",
            remedy="save the file as UTF-8",
        ) from error
    if found := _UNPRINTABLE.search(text):
        place = _place_in(text[: found.start()], shown)
        code = f"U+{ord(found[0]):04X}"
        raise RecipeSyntaxError(f"{place}: control character {code}; is this a text file?")
    return text


def _place_in(before: str, shown: str) -> Place:
    line = before.count("\n")
    return Place(shown, line + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Composer:
    """Turns parser events into a tree, once."""

    def __init__(self, text: str, shown: str, unusable: list[tuple[Place, str]]) -> None:
        self._unusable = unusable
        self._shown = shown
        self._lines = text.splitlines()
        self._events = self._parsed(text)
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def _parsed(self, text: str) -> Iterator[Any]:
        """Yield parser events; the parser's own complaints become ours."""
        parser = _PARSER(text)
        try:
            while parser.check_event():
                yield parser.get_event()
        except yaml.MarkedYAMLError as error:
            raise self._syntax_error(error) from error
        except yaml.YAMLError as error:
            raise RecipeSyntaxError(f"{self._shown}: not YAML: {error}") from error
        finally:
            parser.dispose()

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> RecipeSyntaxError:
        mark = error.problem_mark
        if mark is None:
            return RecipeSyntaxError(f"{self._shown}: {error.problem}")
        line = self._lines[mark.line] if mark.line < len(self._lines) else ""
        if line[mark.column : mark.column + 1] == "\t":
            return RecipeSyntaxError(f"{self._at(mark)}: a tab cannot indent YAML; use spaces")
        context = f" ({error.context})" if error.context else ""
        return RecipeSyntaxError(f"{self._at(mark)}: {error.problem}{context}")

    def _at(self, mark: Any) -> Place:
        return Place(self._shown, mark.line + 1, mark.column + 1)

    def document(self) -> Node:
        """Compose the only document, which must be a mapping."""
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._refusal(event, "a second document starts; a recipe is one document")
                root = self._node(next(self._events), 0)
        if root is None:
            raise RecipeSyntaxError(
                f"{self._shown}: is empty; a recipe says 'model' and 'variants'"
            )
        if not isinstance(root.content, dict):
            raise RecipeSyntaxError(f"{root.place}: is no mapping; a recipe is keys and values")
        return root

    def _refusal(self, event: Any, reason: str) -> RecipeSyntaxError:
        return RecipeSyntaxError(f"{self._at(event.start_mark)}: {reason}")

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            named = self._anchors.get(str(event.anchor))
            if named is None:
                reason = f"alias '*{event.anchor}' names no anchor that is complete"
                raise self._refusal(event, reason)
            self._count(event, named.size)
            return named
        self._count(event, 1)
        if depth > MAX_DEPTH:
            raise self._refusal(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            reason = f"tag '{event.tag}' is not read in recipes; quote a value to make it text"
            self._unusable.append((self._at(event.start_mark), reason))
        node = self._content(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _content(self, event: Any, depth: int) -> Node:
        place = self._at(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event, place), place)
        if isinstance(event, yaml.SequenceStartEvent):
            items = tuple(self._node(item, depth + 1) for item in self._to_the_end())
            return Node(items, place, size=1 + sum(item.size for item in items))
        entries = self._entries(depth)
        return Node(entries, place, size=1 + sum(value.size for value in entries.values()))

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            reason = f"grows to more than {MAX_NODES} values (aliases written out); shorten it"
            raise self._refusal(event, reason)

    def _scalar(self, event: Any, place: Place) -> Scalar:
        if not event.implicit[0]:
            return str(event.value)
        if _NOT_FINITE.fullmatch(event.value):
            self._unusable.append((place, f"{event.value} is no number that a recipe can use"))
            return None
        value = plain_scalar(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            self._unusable.append((place, f"{event.value} is too large for a number"))
            return None
        return value

    def _to_the_end(self) -> Iterator[Any]:
        """Yield the events of the list or mapping that has begun, its end taken."""
        return takewhile(lambda event: not isinstance(event, yaml.CollectionEndEvent), self._events)

    def _entries(self, depth: int) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for event in self._to_the_end():
            place = self._at(event.start_mark)
            key = self._node(event, depth + 1).content
            value = replace(self._node(next(self._events), depth + 1), key_place=place)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged = {**self._merged(value), **merged}
            elif self._is_usable_key(key, place, own):
                own[str(key)] = value
        return {**merged, **own}

    def _is_usable_key(self, key: object, place: Place, own: dict[str, Node]) -> bool:
        if not isinstance(key, str):
            what = "a list or mapping" if isinstance(key, dict | tuple) else f"'{json.dumps(key)}'"
            self._unusable.append((place, f"{what} is no text; quote it to make it a key"))
            return False
        if key in own:
            first = own[key].key_place or place
            self._unusable.append((place, f"{key}: stands twice; first in line {first.line}"))
            return False
        return True

    def _merged(self, value: Node) -> dict[str, Node]:
        """Return what `<<: *alias` brings; of several, the first one wins."""
        content = value.content
        parts = [item.content for item in content] if isinstance(content, tuple) else [content]
        found: dict[str, Node] = {}
        for part in parts:
            if isinstance(part, dict):
                found = {**part, **found}
            else:
                self._unusable.append((value.place, "<<: takes an alias of a mapping"))
        return found


def plain_scalar(text: str) -> Scalar:
    """Return what an unquoted YAML 1.2 scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
