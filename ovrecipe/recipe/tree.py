"""A YAML document as a tree that knows where each key and value stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Scalar: TypeAlias = "bool | int | float | str | None"
#: What a node holds: a scalar, entries by key, or items.
Content: TypeAlias = "Scalar | dict[str, Entry] | tuple[Node, ...]"
#: Where a problem is: keys and list indices from the top of the document.
Loc: TypeAlias = tuple[str | int, ...]


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
    """A value; `size` counts the nodes below it with every alias written out."""

    content: Content
    place: Place
    size: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, where the key stands, and its value."""

    place: Place
    node: Node


def plain(node: Node) -> object:
    """Return the tree as dicts, lists and scalars."""
    if isinstance(node.content, dict):
        return {key: plain(entry.node) for key, entry in node.content.items()}
    if isinstance(node.content, tuple):
        return [plain(item) for item in node.content]
    return node.content


def place_of(root: Node, loc: Loc, *, of_key: bool = False) -> Place:
    """Return where `loc` stands, or the deepest part of it that is written down.

    A value's own place is returned, unless `of_key` asks for its key or the value is missing.
    """
    node, place = root, root.place
    for step in loc:
        if isinstance(node.content, dict) and step in node.content:
            entry = node.content[str(step)]
            node, place = entry.node, entry.place
        elif isinstance(node.content, tuple) and isinstance(step, int) and step < len(node.content):
            node = node.content[step]
            place = node.place
        else:
            return place
    return place if of_key else node.place


def is_written(root: Node, loc: Loc) -> bool:
    """Return whether a file says something at `loc`."""
    node = root
    for step in loc:
        if isinstance(node.content, dict) and step in node.content:
            node = node.content[str(step)].node
        elif isinstance(node.content, tuple) and isinstance(step, int) and step < len(node.content):
            node = node.content[step]
        else:
            return False
    return True
