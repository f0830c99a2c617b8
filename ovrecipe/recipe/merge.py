"""`extends`: one recipe laid over another."""

from __future__ import annotations

from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.tree import Entry, Node

#: Saying one of these takes the inherited others back: a prompt has one template, and a variant
#: either its own knobs or a list of passes.
_REPLACES: dict[str, tuple[str, ...]] = {
    "template": ("chat_template",),
    "chat_template": ("template",),
    "passes": tuple(CompressionPass.model_fields),
}


def merged(base: Node, over: Node) -> Node:
    """Return `base` with `over` on top; every value keeps the place where it was written.

    Mappings are merged key by key, everything else is replaced, and a null takes an inherited
    key back.
    """
    if not (isinstance(base.content, dict) and isinstance(over.content, dict)):
        return over
    entries = {k: e for k, e in base.content.items() if k not in _replaced(over.content)}
    for key, entry in over.content.items():
        if key not in base.content:
            entries[key] = entry
        elif entry.node.content is None:
            entries.pop(key, None)
        else:
            entries[key] = Entry(entry.place, merged(base.content[key].node, entry.node))
    return Node(entries, over.place)


def _replaced(over: dict[str, Entry]) -> set[str]:
    given = {key for key, entry in over.items() if entry.node.content is not None}
    return {old for key in given for old in _REPLACES.get(key, ()) if old not in over}
