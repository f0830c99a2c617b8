"""pydantic's errors in our words, each at its place in the file; the only translation of the kind.

It serves a recipe as a whole, and the options and sections whose classes are those of plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from ovrecipe.recipe.compression import PRECISIONS
from ovrecipe.recipe.schema import FROM_THE_FILE, Recipe
from ovrecipe.recipe.sections import LETTERS, Refused
from ovrecipe.recipe.yaml_reader import (
    Loc,
    Node,
    Place,
    dotted,
    node_at,
    place_of,
    plain_scalar,
)
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, order=True)
class Problem:
    """One line of a report: `recipes/phi-2.yaml:9:5: variants.int4.grup_size: unknown key`.

    `place` is None for a recipe that is in no file.
    """

    place: Place | None
    loc: Loc
    reason: str

    def __str__(self) -> str:
        """Return place, key and reason."""
        place = "" if self.place is None else f"{self.place}: "
        key = f"{dotted(self.loc)}: " if self.loc else ""
        return f"{place}{key}{self.reason}"


def place_in_recipe(recipe: Recipe, loc: Loc) -> Place:
    """Return where the key at `loc` stands; the top of the file where nothing is written.

    `options` of a filter or evaluator are found where they stand right under its name, too.
    """
    if recipe.tree is None:
        return Place(recipe.path.name, 1, 1)
    return place_of(recipe.tree, _as_written(recipe.tree, loc), of_key=True)


def option_problems(
    error: ValidationError, *, model: type[BaseModel], tree: Node | None, loc: Loc
) -> list[Problem]:
    """Return what a plugin's class `model` found wrong with what a recipe says at `loc`.

    `tree` is the recipe's; without it problems have no place.
    """
    where = loc if tree is None else _as_written(tree, loc)
    return problems_of(error, model=model, tree=tree, loc=where)


def problems_of(
    error: ValidationError, *, model: type[BaseModel], tree: Node | None, loc: Loc = ()
) -> list[Problem]:
    """Return every error of a `model` that was validated from what stands at `loc` of the tree."""
    return [
        Problem(None if tree is None else place_of(tree, at, of_key=of_key), (*loc, *keys), reason)
        for details in error.errors()
        for keys, reason, of_key in _found(details, model)
        for at in [(*loc, *keys)]
    ]


def _as_written(tree: Node, loc: Loc) -> Loc:
    """Return `loc` with the name in the place of `options` where an entry is `{name: {...}}`."""
    written: Loc = ()
    for step in loc:
        above = node_at(tree, written)
        keys = list(above.content) if above and isinstance(above.content, dict) else []
        short = step == "options" and len(keys) == 1 and keys[0] not in ("name", "options")
        written = (*written, keys[0] if short else step)
    return written


def _found(details: Mapping[str, Any], model: type[BaseModel]) -> Iterator[tuple[Loc, str, bool]]:
    """Yield (keys, reason, whether the key's place is meant) of one error of pydantic's."""
    kind, loc, cause = details["type"], details["loc"], details.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        for objection in cause.objections:
            yield (*loc, *objection.keys), objection.reason, True
    elif loc and loc[-1] == "[key]":
        yield loc[:-1], LETTERS if cause is None else str(cause), True
    else:
        yield loc, _reason(details, model), kind == "extra_forbidden"


#: What a value must be, by pydantic's kind of error.
_MUST_BE = {
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "dict_type", "mapping_type"), "a mapping of keys"
    ),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    "string_type": "text",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_EMPTY = {
    "string_too_short": "must not be empty",
    "too_short": "must not be empty; name at least one",
}
_NO_PRECISION = (
    "is missing; it is read from the first part of the variant's name "
    f"({', '.join(PRECISIONS)}), or say it with 'precision:'"
)
_OLD_BOOLEANS = ("y", "n", "yes", "no", "on", "off")
#: Where keys of a recipe live that are often written one level off.
_HOMES = {
    **dict.fromkeys(("sym", "group_size", "ratio", "awq", "mode"), "variants.NAME"),
    **dict.fromkeys(("template", "chat_template", "system", "stop"), "prompt"),
    **dict.fromkeys(("id", "revision", "trust_remote_code"), "model"),
    **dict.fromkeys(("temperature", "top_k", "top_p", "max_new_tokens"), "generation"),
    "filters": "output",
}


def _reason(details: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"], model)
    if kind == "missing":
        of_variant = model is Recipe and details["loc"][-1] == "precision"
        return _NO_PRECISION if of_variant else "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind in ("literal_error", "enum"):
        return _not_among(context["expected"], value)
    if what := _MUST_BE.get(kind):
        return f"must be {what}, got {_described(value)}{_hint(what, value)}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        # 0, not 0.0
        return f"must be {words} {int(bound) if bound == int(bound) else bound}, got {value}"
    if kind in _EMPTY and context.get("min_length") == 1:
        return _EMPTY[kind]
    # pydantic's own errors have a page; one that a plugin's validator made up says it all.
    return f"{details['msg']}, got {_described(value)}" if "url" in details else details["msg"]


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{value if len(value) < 60 else value[:57] + '...'}'"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return str(value)


def _hint(what: str, value: Any) -> str:
    """Return what to write instead, for the mistakes that are made most."""
    if what == "true or false" and isinstance(value, str) and value.lower() in _OLD_BOOLEANS:
        return "; only YAML 1.1 reads that as a boolean"
    if "number" in what and isinstance(value, str) and type(plain_scalar(value)) in (int, float):
        return "; remove the quotes"
    if what == "text" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if what == "a list" and isinstance(value, str):
        return f"; write [{value!r}]"
    if what == "a mapping of keys" and value is None:
        return "; remove the key or write {}"
    return ""


def _not_among(expected: str, value: Any) -> str:
    known = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    meant = perhaps(value, known) if isinstance(value, str) else ""
    return f"must be one of {', '.join(known)}, got {_described(value)}{meant}"


def _unknown_key(loc: Loc, model: type[BaseModel]) -> str:
    key, known = str(loc[-1]), _keys_at(model, loc[:-1])
    if meant := perhaps(key, known):
        return f"unknown key{meant}"
    if model is Recipe and key in _HOMES:
        return f"unknown key; it belongs under {_HOMES[key]}"
    return f"unknown key; {'known are ' + ', '.join(known) if known else 'there are none'}"


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that the section at `loc` knows, by the names that files use."""
    kind: Any = model
    for step in loc:
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            parts = get_args(kind) or (None,)
            kind = _bare(parts[0] if isinstance(step, int) else parts[-1])
        else:
            kinds = (
                field.annotation for name, field in fields.items() if step in (name, field.alias)
            )
            kind = _bare(next(kinds, None))
    hidden = FROM_THE_FILE if kind is Recipe else ()
    fields = getattr(kind, "model_fields", {})
    return [field.alias or name for name, field in fields.items() if name not in hidden]


def _bare(kind: Any) -> Any:
    """Return what is in `Annotated[...]` and `... | None`."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind
