"""Reads the YAML of a recipe: YAML 1.2's plain values, places kept, nothing executed.

PyYAML's parser gives events and this module composes them itself. PyYAML's own loaders keep the
last of duplicate keys, read `no` as false, `12:30` as 750 and `1e-3` as text, let a few aliases
grow into gigabytes, and the one in C composes by recursion: 900,000 brackets end the process with
a segmentation fault, which nothing can catch.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, NamedTuple, TypeAlias

import yaml

from ovrecipe.errors import RecipeSyntaxError

Scalar: TypeAlias = "bool | int | float | str | None"
#: What a node holds: a scalar, values by key, or items.
Content: TypeAlias = "Scalar | dict[str, Node] | tuple[Node, ...]"
#: Where something stands: keys and list indices from the top of the document.
Loc: TypeAlias = tuple[str | int, ...]


def dotted(loc: Loc) -> str:
    """Return `variants.int4.passes[0].ratio`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return "".join(steps).removeprefix(".")


class Place(NamedTuple):
    """A place in a file; `shown` is the file's name as users see it, line and column from 1."""

    shown: str
    line: int
    column: int

    def __str__(self) -> str:  # which editors and terminals open
        return f"{self.shown}:{self.line}:{self.column}"


class Node(NamedTuple):
    """A value, where it stands, and where its key does when it is a mapping's."""

    content: Content
    place: Place
    key_place: Place | None = None


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
        below: Any = dict(enumerate(content)) if isinstance(content, tuple) else content
        if not isinstance(below, dict) or step not in below:
            return node, False
        node = below[step]
    return node, True


MAX_BYTES = 1_000_000
MAX_DEPTH = 40
#: Nodes with every alias written out; the largest recipe that makes sense has some hundreds.
MAX_NODES = 20_000

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: They end a line for the parser, which reads YAML 1.1; spaces beside them would be lost.
_BREAKS = "\x85\u2028\u2029"
_REFUSED = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff{_BREAKS}]")
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

    Keys and values that no recipe can use are added to `unusable`, to be told with all else.

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
        place = _place_after(error.object[: error.start].decode(), shown)
        message = f"{place}: byte 0x{error.object[error.start]:02x} is not UTF-8"
        raise RecipeSyntaxError(message, remedy="save the file as UTF-8") from error
    if found := _REFUSED.search(text):
        place, code = _place_after(text[: found.start()], shown), f"{ord(found[0]):04X}"
        if found[0] in _BREAKS:
            message = f"{place}: U+{code} ends a line in YAML 1.1, and in YAML 1.2 it does not"
            raise RecipeSyntaxError(message, remedy=f'write "\\u{code}", in double quotes')
        raise RecipeSyntaxError(f"{place}: control character U+{code}; is this a text file?")
    return text


def _place_after(text: str, shown: str) -> Place:
    return Place(shown, text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Composer:
    """Turns parser events into a tree, once."""

    def __init__(self, text: str, shown: str, unusable: list[tuple[Place, str]]) -> None:
        self._unusable = unusable
        self._shown = shown
        self._lines = text.splitlines()
        self._events = self._parsed(text)
        #: Values that are complete, each with the number of its nodes.
        self._anchors: dict[str, tuple[Node, int]] = {}
        #: Nodes so far, with every alias written out.
        self._nodes = 0

    def _parsed(self, text: str) -> Iterator[Any]:
        """Yield parser events; the parser's own complaints become ours."""
        parser = _PARSER(text)
        try:
            while parser.check_event():
                yield parser.get_event()
        except yaml.YAMLError as error:
            raise self._syntax_error(error) from error
        finally:
            parser.dispose()

    def _syntax_error(self, error: yaml.YAMLError) -> RecipeSyntaxError:
        if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
            return RecipeSyntaxError(f"{self._shown}: not YAML: {error}")
        mark, context = error.problem_mark, f" ({error.context})" if error.context else ""
        in_line = "".join(self._lines[mark.line : mark.line + 1])
        is_tab = in_line[mark.column : mark.column + 1] == "\t"
        what = "a tab cannot indent YAML; use spaces" if is_tab else f"{error.problem}{context}"
        return RecipeSyntaxError(f"{self._at(mark)}: {what}")

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
            reason = "is empty; a recipe says 'model' and 'variants'"
            raise RecipeSyntaxError(f"{self._shown}: {reason}")
        if not isinstance(root.content, dict):
            raise RecipeSyntaxError(f"{root.place}: is no mapping; a recipe is keys and values")
        return root

    def _refusal(self, event: Any, reason: str) -> RecipeSyntaxError:
        return RecipeSyntaxError(f"{self._at(event.start_mark)}: {reason}")

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                reason = f"alias '*{event.anchor}' names no anchor that is complete"
                raise self._refusal(event, reason)
            node, size = self._anchors[event.anchor]
            self._count(event, size)
            return node
        before, place = self._nodes, self._at(event.start_mark)
        self._count(event, 1)
        if depth > MAX_DEPTH:
            raise self._refusal(event, f"is nested deeper than {MAX_DEPTH} levels")
        if event.tag is not None:
            reason = f"tag '{event.tag}' is not read in recipes; quote a value to make it text"
            self._unusable.append((place, reason))
        node = Node(self._content(event, depth + 1), place)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, self._nodes - before
        return node

    def _content(self, event: Any, depth: int) -> Content:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return tuple(self._node(item, depth) for item in self._to_the_end())
        return self._entries(depth)

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            reason = f"grows to more than {MAX_NODES} values (aliases written out); shorten it"
            raise self._refusal(event, reason)

    def _scalar(self, event: Any) -> Scalar:
        if not event.implicit[0]:
            return str(event.value)
        value = plain_scalar(event.value)
        too_large = isinstance(value, float) and math.isinf(value)
        if not too_large and not _NOT_FINITE.fullmatch(event.value):
            return value
        what = "too large for a number" if too_large else "no number that a recipe can use"
        self._unusable.append((self._at(event.start_mark), f"{event.value} is {what}"))
        return None

    def _to_the_end(self) -> Iterator[Any]:
        """Yield the events of the list or mapping that has begun, its end taken."""
        return takewhile(lambda event: not isinstance(event, yaml.CollectionEndEvent), self._events)

    def _entries(self, depth: int) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for event in self._to_the_end():
            place = self._at(event.start_mark)
            key = self._node(event, depth).content
            value = self._node(next(self._events), depth)._replace(key_place=place)
            if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                merged = {**self._merged(value), **merged}
            elif isinstance(key, dict | tuple):
                reason = "a list or mapping is no text; quote it to make it a key"
                self._unusable.append((place, reason))
            elif not isinstance(key, str):
                reason = f"'{json.dumps(key)}' is no text; quote it to make it a key"
                self._unusable.append((place, reason))
            elif key in own:
                first = own[key].key_place or place
                self._unusable.append((place, f"{key}: stands twice; first in line {first.line}"))
            else:
                own[key] = value
        return {**merged, **own}

    def _merged(self, value: Node) -> dict[str, Node]:
        """Return what `<<: *alias` brings; of several, the first one wins."""
        found: dict[str, Node] = {}
        for part in value.content if isinstance(value.content, tuple) else (value,):
            if isinstance(part.content, dict):
                found = {**part.content, **found}
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
