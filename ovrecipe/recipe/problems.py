"""pydantic's errors in our words, each at its place in the file; the only boundary of the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core.core_schema import ErrorType

from ovrecipe.recipe.compression import PRECISIONS
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.sections import LETTERS, Refused
from ovrecipe.recipe.yaml_reader import Loc, Node, Place, place_of

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MISSING: dict[str | int, str] = {
    "precision": "is missing; it is read from the first part of the variant's name "
    f"({', '.join(PRECISIONS)}), or say it with 'precision:'",
}
_OLD_BOOLEANS = ("y", "n", "yes", "no", "on", "off")


@dataclass(frozen=True, order=True)
class Problem:
    """One line of a report: `recipes/phi-2.yaml:9:5: variants.int4.grup_size: unknown key`."""

    place: Place
    loc: tuple[str | int, ...]
    reason: str

    def __str__(self) -> str:
        """Return place, key and reason."""
        key = f"{dotted(self.loc)}: " if self.loc else ""
        return f"{self.place}: {key}{self.reason}"


def place_in_recipe(recipe: Recipe, loc: Loc) -> Place:
    """Return where the key at `loc` stands; the top of the file where nothing is written.

    `options` of a filter or evaluator are found where they stand right under its name, too.
    """
    tree = recipe.tree or Node({}, Place(recipe.path.name, 1, 1))
    return place_of(tree, _as_written(tree, loc), of_key=True)


def option_problems(
    error: ValidationError, *, model: type[BaseModel], tree: Node | None, loc: Loc
) -> list[Problem]:
    """Return what a plugin's class `model` found wrong with what a recipe says at `loc`."""
    tree = tree or Node({}, Place("options", 1, 1))
    return problems_of(error, tree, model=model, loc=_as_written(tree, loc))


def _as_written(tree: Node, loc: Loc) -> Loc:
    """Return `loc` with the name in the place of `options` where an entry is `{name: {...}}`."""
    written: Loc = ()
    above: Node | None = tree
    for step in loc:
        content = above.content if above is not None else None
        keys = list(content) if isinstance(content, dict) else []
        short = step == "options" and len(keys) == 1 and keys[0] not in ("name", "options")
        key = keys[0] if short else step
        written = (*written, key)
        above = None
        if isinstance(content, dict) and key in content:
            above = content[str(key)].node
        elif isinstance(content, tuple) and isinstance(key, int) and key < len(content):
            above = content[key]
    return written


def dotted(loc: Loc) -> str:
    """Return `variants.int4.passes[0].ratio`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def problems_of(
    error: ValidationError, tree: Node, *, model: type[BaseModel] = Recipe, loc: Loc = ()
) -> list[Problem]:
    """Return every error of a `model` that was validated from what stands at `loc` of a tree."""
    found: list[Problem] = []
    for details in error.errors(include_url=False):
        found.extend(_problems(details, tree, model, loc))
    return found


def _problems(
    details: ErrorDetails, tree: Node, model: type[BaseModel], above: Loc
) -> list[Problem]:
    cause = details.get("ctx", {}).get("error")
    loc = (*above, *details["loc"])
    if isinstance(cause, Refused):
        return [_at(tree, (*loc, *each.keys), each.reason) for each in cause.objections]
    if loc and loc[-1] == "[key]":
        reason = LETTERS if cause is None else str(cause)
        return [Problem(place_of(tree, loc[:-1], of_key=True), loc[:-1], reason)]
    of_key = details["type"] in ("extra_forbidden", "missing")
    if details["type"] == "missing":
        return [Problem(place_of(tree, loc[:-1], of_key=True), loc, _reason(details, model))]
    return [Problem(place_of(tree, loc, of_key=of_key), loc, _reason(details, model))]


def _at(tree: Node, loc: Loc, reason: str) -> Problem:
    return Problem(place_of(tree, loc, of_key=True), loc, reason)


def _reason(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"], model)
    if kind == "missing":
        return _MISSING.get(details["loc"][-1], "is missing")
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _not_among(context["expected"], value)
    if kind in _WORDS:
        return _WORDS[kind](value, context)
    # A kind that a plugin's own validator made up says it all.
    known = kind in get_args(ErrorType)
    return f"{details['msg']}, got {_described(value)}" if known else details["msg"]


def _must_be(what: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda value, _: f"must be {what}, got {_described(value)}{_hint(what, value)}"


def _bounded(words: str, key: str) -> Callable[[Any, Mapping[str, Any]], str]:
    return lambda value, context: f"must be {words} {_number(context[key])}, got {value}"


def _number(value: float) -> str:
    """Return a bound as a recipe would say it: 0, not 0.0."""
    return str(int(value)) if value == int(value) else str(value)


_WORDS: dict[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "bool_type": _must_be("true or false"),
    "int_type": _must_be("a whole number"),
    "int_from_float": _must_be("a whole number"),
    "float_type": _must_be("a number"),
    "string_type": _must_be("text"),
    "model_type": _must_be("a mapping of keys"),
    "model_attributes_type": _must_be("a mapping of keys"),
    "dict_type": _must_be("a mapping of keys"),
    "mapping_type": _must_be("a mapping of keys"),
    "tuple_type": _must_be("a list"),
    "greater_than": _bounded("greater than", "gt"),
    "greater_than_equal": _bounded("at least", "ge"),
    "less_than": _bounded("less than", "lt"),
    "less_than_equal": _bounded("at most", "le"),
    "string_too_short": lambda _value, _context: "must not be empty",
    "too_short": lambda _value, _context: "must not be empty; name at least one",
    "string_pattern_mismatch": lambda value, _: (
        f"must be letters, digits, '.', '-' and '_', got {_described(value)}"
    ),
}


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
    if what == "true or false" and isinstance(value, str) and value.lower() in _OLD_BOOLEANS:
        return "; only YAML 1.1 reads that as a boolean"
    if "number" in what and isinstance(value, str) and _is_number(value):
        return "; remove the quotes"
    if what == "text" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if what == "a list" and isinstance(value, str):
        return f"; write [{value!r}]"
    if what == "a mapping of keys" and value is None:
        return "; remove the key or write {}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _not_among(expected: str, value: Any) -> str:
    options = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    close = get_close_matches(value, options, n=1) if isinstance(value, str) else []
    meant = f"; perhaps you meant '{close[0]}'" if close else ""
    return f"must be one of {', '.join(options)}, got {_described(value)}{meant}"


def _unknown_key(loc: Loc, model: type[BaseModel]) -> str:
    key = str(loc[-1])
    keys = _keys_at(model, loc[:-1])
    if close := get_close_matches(key, keys, n=1):
        return f"unknown key; perhaps you meant '{close[0]}'"
    if model is Recipe and (homes := _HOMES.get(key)):
        return f"unknown key; it belongs under {' or '.join(homes)}"
    return f"unknown key; {'known are ' + ', '.join(keys) if keys else 'there are none'}"


#: Where keys live that are often written one level off.
_HOMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sym", "group_size", "ratio", "awq", "mode"), ("variants.NAME",)),
    **dict.fromkeys(("template", "chat_template", "system", "stop"), ("prompt",)),
    **dict.fromkeys(("id", "revision", "trust_remote_code"), ("model",)),
    **dict.fromkeys(("temperature", "top_k", "top_p", "max_new_tokens"), ("generation",)),
    "filters": ("output",),
}


def _keys_at(annotation: Any, loc: Loc) -> list[str]:
    """Return the keys that the section at `loc` knows, by the names that files use."""
    for step in loc:
        annotation = _below(_bare(annotation), step)
    section = _bare(annotation)
    if not (isinstance(section, type) and issubclass(section, BaseModel)):
        return []
    own = () if section is not Recipe else ("name", "path")
    fields = section.model_fields.items()
    return [field.alias or name for name, field in fields if name not in own]


def _bare(annotation: Any) -> Any:
    """Return what is in `Annotated[...]` and `... | None`."""
    while get_origin(annotation) in (Annotated, Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0]
    return annotation


def _below(annotation: Any, step: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        found = [field.annotation for name, field in fields if step in (name, field.alias)]
        return found[0] if found else None
    arguments = get_args(annotation)
    if not arguments:
        return None
    return arguments[0] if isinstance(step, int) else arguments[-1]
