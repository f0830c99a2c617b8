"""pydantic's errors in our words, each at its place: of recipes, plugins' classes, other files."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from ovrecipe.recipe.compression import PRECISIONS
from ovrecipe.recipe.project import LETTERS, PATTERN
from ovrecipe.recipe.schema import FROM_THE_FILE, Recipe, Variant
from ovrecipe.recipe.yaml_reader import Loc, Node, Place, dotted, node_at, place_of, plain_scalar
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class Problem(NamedTuple):
    """One line of a report: `recipes/phi-2.yaml:9:5: variants.int4.grup_size: unknown key`."""

    place: Place | None  # a recipe may be in no file
    loc: Loc
    reason: str

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.place, dotted(self.loc), self.reason) if part)


def place_in_recipe(recipe: Recipe, loc: Loc) -> Place:
    """Return where the key at `loc` stands; the top of the file where nothing is written."""
    if recipe.tree is None:
        return Place(recipe.path.name, 1, 1)
    return place_of(recipe.tree, _as_written(recipe.tree, loc), of_key=True)


def problems_of(
    error: ValidationError, *, model: type[BaseModel], tree: Node | None = None, loc: Loc = ()
) -> list[Problem]:
    """Return every error of what stands at `loc`; without the file's `tree` they have no place."""
    above = loc if tree is None else _as_written(tree, loc)
    problems = []
    for details in error.errors():
        keys, kind = details["loc"], details["type"]
        reason = _unknown_key(keys, model) if kind == "extra_forbidden" else _reason(details, model)
        of_key = kind in ("extra_forbidden", "objection")
        if keys[-1:] == ("[key]",):
            keys, of_key = keys[:-1], True
        at = (*above, *keys)
        place = None if tree is None else place_of(tree, at, of_key=of_key)
        problems.append(Problem(place, at, reason))
    return problems


def _as_written(tree: Node, loc: Loc) -> Loc:
    """Return `loc` with the name in the place of `options` where an entry is `{name: {...}}`."""
    written: Loc = ()
    for step in loc:
        above = node_at(tree, written)
        keys = list(above.content) if above and isinstance(above.content, dict) else []
        short = step == "options" and len(keys) == 1 and keys[0] not in ("name", "options")
        written = (*written, keys[0] if short else step)
    return written


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
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
_NO_PRECISION = (
    "is missing; it is read from the first part of the variant's name "
    f"({', '.join(PRECISIONS)}), or say it with 'precision:'"
)


def _reason(details: Mapping[str, Any], model: type[BaseModel]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        of_variant = model is Recipe and details["loc"][-1] == "precision"
        return _NO_PRECISION if of_variant else "is missing"
    if kind in ("value_error", "objection"):
        return str(context["error"])
    if kind == "json_invalid":
        return f"is not JSON ({context['error']})"
    if kind in ("literal_error", "enum"):
        parts = context["expected"].replace(" or ", ", ").split(",")
        known = [part.strip().strip("'") for part in parts]
        meant = perhaps(value, known) if isinstance(value, str) else ""
        one_of = "one of " if len(known) > 1 else ""
        return f"must be {one_of}{', '.join(known)}, got {_described(value)}{meant}"
    if kind in _MUST_BE:
        what = _MUST_BE[kind].format(**context).removesuffix(".0")
        return f"must be {what}, got {_described(value)}{_hint(what, value)}"
    if context.get("min_length") == 1:
        return f"must not be empty{'; name at least one' if kind == 'too_short' else ''}"
    if context.get("pattern") == f"^{PATTERN}$":
        return LETTERS
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
    if what == "true or false" and str(value).lower() in ("y", "n", "yes", "no", "on", "off"):
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


def _unknown_key(loc: Loc, model: type[BaseModel]) -> str:
    key, known = str(loc[-1]), _keys_at(model, loc[:-1])
    if meant := perhaps(key, known):
        return f"unknown key{meant}"
    if model is Recipe and key not in Recipe.model_fields:
        sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
        for home, kind in {**sections, "variants.NAME": Variant}.items():
            if key in getattr(kind, "model_fields", ()):
                return f"unknown key; it belongs under {home}"
    return f"unknown key; {'known are ' + ', '.join(known) if known else 'there are none'}"


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys that the section at `loc` knows, by the names that files use."""
    kind: Any = model
    for step in loc:
        fields = getattr(kind, "model_fields", None)
        if fields is None:  # a list or a mapping
            kind = (get_args(kind) or (None,))[0 if isinstance(step, int) else -1]
        else:
            named = (field for name, field in fields.items() if step in (name, field.alias))
            kind = getattr(next(named, None), "annotation", None)
        while get_origin(kind) in (Annotated, Union, UnionType):
            kind = next(part for part in get_args(kind) if part is not NoneType)
    hidden = FROM_THE_FILE if kind is Recipe else ()
    fields = getattr(kind, "model_fields", {})
    return [field.alias or name for name, field in fields.items() if name not in hidden]
