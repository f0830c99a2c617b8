"""Forms that an answer can be held to: a JSON schema, a regular expression, a grammar in EBNF.

What stands here needs no model. GenAI's compiler (xgrammar) ignores some keywords of a schema
without a word, and a form that nests too deep ends the process, so both are refused before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ovrecipe.recipe.yaml_reader import Loc, dotted

#: Parameters of generation, of which one may be given.
FORMS = ("json_schema", "regex", "grammar")
#: Parameters under which GenAI 2026.4 leaves the form, and the value with which it does not.
NOT_BESIDE_A_FORM = {"ignore_eos": False, "min_new_tokens": 0, "num_beams": 1, "echo": False}
LARGEST_TEXT, DEEPEST_TEXT, DEEPEST_SCHEMA = 100_000, 200, 64
#: How many schemas a schema may have within it and be: what is tried of each takes as long again.
MOST_SCHEMAS = 500

#: What says nothing of the answer.
REMARKS = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
}
#: What GenAI holds an answer to. Source: xgrammar's converter as GenAI 2026.4 has it, and tries.
HONOURED = {
    *("$ref", "type", "enum", "const", "anyOf", "oneOf", "allOf"),
    *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties", "unevaluatedProperties"),
    *("items", "prefixItems", "minItems", "maxItems", "unevaluatedItems"),
    *("minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
FORMATS = {
    *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri"),
    *("uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
}
#: Of these GenAI reads the first that is there, and nothing beside it.
ALONE = ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list, tuple),
    "object": (dict,),
}
#: The keywords whose value is a schema, a list of schemas, or schemas by name.
INNER = (
    *("items", "additionalProperties", "propertyNames"),
    *("unevaluatedProperties", "unevaluatedItems"),
)
INNER_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
INNER_NAMED = ("properties", "patternProperties", "$defs", "definitions")
COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
BOUNDS = (*zip(COUNTS[::2], COUNTS[1::2], strict=True), ("minimum", "maximum"))
#: What a keyword's value must be, and how a message calls that.
SHAPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys((*INNER_LISTS, "enum", "required"), ((list, tuple), "a list")),
    **dict.fromkeys(INNER_NAMED, ((Mapping,), "an object")),
    **dict.fromkeys(COUNTS, ((int,), "a whole number")),
    **dict.fromkeys(NUMBERS, ((int, float), "a number")),
    **dict.fromkeys(("pattern", "format", "$ref"), ((str,), "text")),
}


def form_problems(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which parameters of generation do not go with a form, or are none, and why."""
    forms = [name for name in FORMS if parameters.get(name) is not None]
    yield from ((name, f"stands beside {forms[0]}; keep one of them") for name in forms[1:])
    for name in forms[:1]:
        if reason := form_objection(name, parameters[name]):
            yield name, reason
        for other, harmless in NOT_BESIDE_A_FORM.items():
            if parameters.get(other) not in (None, harmless):
                yield other, f"GenAI would leave the form that {name} asks for; leave it out"


def form_objection(name: str, value: Any) -> str | None:
    """Return what is wrong with a form, as far as no model is needed to see it."""
    if name == "json_schema":
        return schema_objection(value)
    if not isinstance(value, str) or not value.strip():
        return f"must be text that is not blank, got {value!r}"
    return _text_objection(value)


def read_schema(value: Any) -> Any:
    """Return a schema as JSON values; it may be given as JSON text.

    Raises:
        ValueError: the text is no JSON.
    """
    return json.loads(value) if isinstance(value, str) else value


def _text_objection(text: str) -> str | None:
    if len(text) > LARGEST_TEXT:
        return f"has {len(text):,} characters; at most {LARGEST_TEXT:,} are compiled"
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds a character that is no text"
    depth = deepest = 0
    for letter in text:
        depth = max(0, depth + (letter in "([{") - (letter in ")]}"))
        deepest = max(deepest, depth)
    if deepest > DEEPEST_TEXT:
        return f"has brackets {deepest} deep; at most {DEEPEST_TEXT} are compiled"
    return None


def schema_objection(value: Any) -> str | None:
    """Return why no answer could be held to a JSON schema; None when GenAI can try it."""
    try:
        schema = read_schema(value)
        text = json.dumps(schema, allow_nan=False)
        if len(text) > LARGEST_TEXT:
            return f"has {len(text):,} characters; at most {LARGEST_TEXT:,} are compiled"
        return _objection(text)
    except (ValueError, TypeError, RecursionError) as problem:
        return f"is not JSON ({problem})"


@lru_cache(maxsize=64)
def _objection(text: str) -> str | None:
    """Return what is wrong with a schema; remembered, for many requests have the same one."""
    schema = json.loads(text)
    for loc, reason in _objections(schema, schema, ()):
        return f"{dotted(loc)}: {reason}" if loc else reason
    nodes = _nodes(schema)
    if len(nodes) > MOST_SCHEMAS:
        return f"has {len(nodes):,} schemas; at most {MOST_SCHEMAS:,} are compiled"
    if not _has_an_answer(schema, nodes):
        return "no text can satisfy it"
    return None


def _nodes(root: Any) -> Sequence[Mapping[str, Any]]:
    """Return a schema and those within it, without those that are true or false."""
    nodes = [] if isinstance(root, bool) else [root]
    for node in nodes:
        nodes += [inner for _, inner in _inner(node) if not isinstance(inner, bool)]
    return nodes


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[Loc, Any]]:
    """Yield the schemas within a schema, each with the keys that lead to it."""
    yield from (((name,), schema[name]) for name in INNER if name in schema)
    for keyword in INNER_LISTS:
        yield from (((keyword, at), inner) for at, inner in enumerate(schema.get(keyword, ())))
    for keyword in INNER_NAMED:
        yield from (((keyword, name), inner) for name, inner in schema.get(keyword, {}).items())


def _objections(schema: Any, root: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield what GenAI would ignore, or end on; of schemas within the schema too."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield loc, f"a schema is an object, true or false, got {schema!r}"
        return
    if len(loc) > DEEPEST_SCHEMA:
        yield loc, f"is nested too deep; at most {DEEPEST_SCHEMA} keys"
        return
    misshapen = [*_misshapen(schema, loc)]
    yield from misshapen
    if misshapen:
        return
    yield from _unread(schema, loc)
    yield from _misleading(schema, root, loc)
    for keys, inner in _inner(schema):
        yield from _objections(inner, root, (*loc, *keys))


def _misshapen(schema: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    for name, (types, called) in SHAPES.items():
        if name in schema:
            value = schema[name]
            if not isinstance(value, types) or (isinstance(value, bool) and str not in types):
                yield (*loc, name), f"must be {called}, got {value!r}"
    names = schema.get("required", ())
    if isinstance(names, list | tuple) and any(not isinstance(name, str) for name in names):
        yield (*loc, "required"), "must be a list of texts"
    kinds = _kinds(schema)
    if any(not isinstance(kind, str) or kind not in TYPES for kind in kinds):
        yield (*loc, "type"), f"must be one of {', '.join(TYPES)}, or a list of them"


def _kinds(schema: Mapping[str, Any]) -> Sequence[Any]:
    kinds = schema.get("type", ())
    return kinds if isinstance(kinds, list | tuple) else (kinds,)


def _unread(schema: Mapping[str, Any], loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield the keywords that GenAI passes over, alone or beside others."""
    ignored = "GenAI would not hold the answer to it; leave it out"
    said = [name for name in schema if name not in REMARKS]
    yield from (((*loc, name), ignored) for name in said if name not in HONOURED)
    first = next((name for name in ALONE if name in schema), None)
    if first is not None:
        read = {first, "type"} if first in {"enum", "const"} else {first}
        yield from (
            ((*loc, name), f"beside {first} {ignored}") for name in said if name not in read
        )
    of_text = [name for name in ("format", "pattern") if name in schema]
    lengths = [name for name in ("minLength", "maxLength") if name in schema]
    for name in [*of_text, *lengths][1:] if of_text else ():
        yield (*loc, name), f"beside {of_text[0]} {ignored}"


def _misleading(schema: Mapping[str, Any], root: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """Yield values that GenAI reads in another way than they are meant."""
    if "format" in schema and schema["format"] not in FORMATS:
        yield (*loc, "format"), f"GenAI knows only {', '.join(sorted(FORMATS))}"
    if len(schema.get("allOf", ())) > 1:
        yield (*loc, "allOf"), "GenAI reads an allOf of one schema only"
    kinds = _kinds(schema)
    for value in schema.get("enum", [schema["const"]] if "const" in schema else []):
        if kinds and not any(_is_a(kind, value) for kind in kinds):
            yield loc, f"{value!r} is of another type than {' or '.join(kinds)}"
    if "$ref" in schema and _target(schema["$ref"], root) is None:
        yield (*loc, "$ref"), f"{schema['$ref']!r} leads nowhere in this schema"
    for name in schema.get("required", ()):
        if name not in schema.get("properties", {}):
            reason = "is not described in properties, so GenAI would not ask for it"
            yield (*loc, "required"), f"{name!r} {reason}"


def _is_a(kind: str, value: Any) -> bool:
    return kind == "boolean" if isinstance(value, bool) else isinstance(value, TYPES[kind])


def _target(ref: str, root: Any) -> Any:
    """Return the schema that a reference within `root` leads to; None when there is none."""
    if not ref.startswith("#"):
        return None
    found = root
    for part in filter(None, ref.removeprefix("#").split("/")):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found if isinstance(found, bool | Mapping) else None


def _has_an_answer(root: Any, nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether some finite text satisfies a schema, as far as its structure says.

    Schemas that have one are found from the inside out: what needs itself to end is never found.
    """
    if isinstance(root, bool):
        return root
    ending = set[int]()

    def has(schema: Any) -> bool:
        return schema if isinstance(schema, bool) else id(schema) in ending

    while True:
        found = {id(node) for node in nodes if id(node) not in ending and _ends(node, root, has)}
        if not found:
            return id(root) in ending
        ending |= found


def _ends(schema: Mapping[str, Any], root: Any, has: Callable[[Any], bool]) -> bool:
    """Return whether a schema has an answer when those within it have as `has` says."""
    if "$ref" in schema:
        return has(_target(schema["$ref"], root))
    if "enum" in schema:
        return len(schema["enum"]) > 0
    for keyword, enough in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        if keyword in schema:
            return enough(map(has, schema[keyword]))
    if any(schema[low] > schema[high] for low, high in BOUNDS if schema.keys() >= {low, high}):
        return False
    # Of several types another will do.
    return len(_kinds(schema)) > 1 or all(map(has, _needed(schema)))


def _needed(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas of which an answer needs one each."""
    yield from (schema["properties"][name] for name in schema.get("required", ()))
    first, fewest = schema.get("prefixItems", ()), schema.get("minItems", 0)
    yield from first[:fewest]
    if fewest > len(first):
        yield schema.get("items", True)
