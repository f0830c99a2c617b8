"""`extends`: one recipe laid over another."""

from __future__ import annotations

from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.tree import Entry, Loc, Node

#: Knobs of a variant that a list of passes stands in for.
_KNOBS = tuple(CompressionPass.model_fields)


def merged(base: Node, over: Node, loc: Loc = ()) -> Node:
    """Return `base` with `over` on top; every value keeps the place where it was written.

    Mappings are merged key by key, everything else is replaced, and a null takes an inherited
    key back.
    """
    if not (isinstance(base.content, dict) and isinstance(over.content, dict)):
        return over
    gone = _replaced(over.content, loc)
    entries = {key: entry for key, entry in base.content.items() if key not in gone}
    for key, entry in over.content.items():
        if key not in base.content:
            entries[key] = entry
        elif entry.node.content is None:
            entries.pop(key, None)
        else:
            node = merged(base.content[key].node, entry.node, (*loc, key))
            entries[key] = Entry(entry.place, node)
    return Node(entries, over.place)


def _replaced(over: dict[str, Entry], loc: Loc) -> set[str]:
    """Return inherited keys that are not meant any more, because `over` says it otherwise.

    A prompt has one template, and a variant has either its own knobs or a list of passes.
    """
    given = {key for key, entry in over.items() if entry.node.content is not None}
    gone: set[str] = set()
    if loc == ("prompt",) and given & {"template", "chat_template"}:
        gone = {"template", "chat_template"}
    if len(loc) == 2 and loc[0] == "variants" and "passes" in given:
        gone = set(_KNOBS)
    return gone - set(over)
