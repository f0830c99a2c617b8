"""Forms of answers, as far as they are judged without a model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ovrecipe.recipe.forms import form_objection, form_problems

if TYPE_CHECKING:
    from .conftest import Recipes

PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20, "description": "given name"},
        "kind": {"enum": ["cat", None], "type": ["string", "null"]},
        "friends": {"type": "array", "items": {"$ref": "#/$defs/friend"}, "maxItems": 3},
        "born": {"type": "string", "format": "date"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"friend": {"anyOf": [{"type": "string"}, {"$ref": "#"}]}},
}


def test_a_usual_schema_is_taken():
    """As an object and as JSON text; `true` lets any JSON through."""
    assert form_objection("json_schema", PERSON) is None
    assert form_objection("json_schema", '{"type": "integer", "minimum": 1}') is None
    assert form_objection("json_schema", True) is None


NEVER = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"enum": []},
        {"$ref": "#"},
        NEVER,
        {"anyOf": [False, NEVER]},
        {"type": "array", "minItems": 1, "items": False},
        {"type": "array", "minItems": 2, "prefixItems": [True, False]},
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"type": "string", "minLength": 5, "maxLength": 3},
    ],
)
def test_a_schema_that_no_text_satisfies_is_refused(schema):
    """GenAI finds some of them; with the others the model writes nothing, up to its limit."""
    assert form_objection("json_schema", schema) == "no text can satisfy it"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {"anyOf": [{"type": "null"}, NEVER]},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": ["null", "array"], "minItems": 1, "items": False},
    ],
)
def test_a_schema_that_can_end_is_none_of_them(schema):
    """It may need itself, as a tree does, where it need not for ever."""
    assert form_objection("json_schema", schema) is None


@pytest.mark.parametrize(
    ("schema", "objection"),
    [
        ('{"type":', r"is not JSON \(Expecting value"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "is not JSON .*recursion"),
        ({"title": {1, 2}}, "is not JSON .*set"),
        ({"anyOf": [{}] * 500}, "has 501 schemas; at most 500 are compiled"),
        ({"title": "x" * 100_001}, "has 100,01. characters; at most 100,000"),
        (3, "a schema is an object, true or false, got 3"),
        ({"items": 3}, "items: a schema is an object"),
        ({"type": "strin"}, r"type: must be one of string, integer"),
        ({"type": [["string"]]}, "type: must be one of"),
        ({"required": 3}, "required: must be a list, got 3"),
        ({"required": [["a"]]}, "required: must be a list of texts"),
        ({"properties": []}, "properties: must be an object"),
        ({"maxLength": "9"}, "maxLength: must be a whole number, got '9'"),
        ({"maxItems": True}, "maxItems: must be a whole number"),
        ({"properties": {"a": {"not": {}}}}, r"properties\.a\.not: GenAI would not hold"),
        ({"type": "integer", "multipleOf": 5}, "multipleOf: GenAI would not hold"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems: GenAI would not hold"),
        ({"anyOf": [True], "properties": {}}, "properties: beside anyOf GenAI would not hold"),
        ({"pattern": "a", "maxLength": 3}, "maxLength: beside pattern GenAI would not"),
        ({"allOf": [True, True]}, "allOf: GenAI reads an allOf of one schema only"),
        ({"enum": ["a", 1], "type": "string"}, "1 is of another type than string"),
        ({"const": True, "type": "integer"}, "True is of another type than integer"),
        ({"format": "iri"}, "format: GenAI knows only date, "),
        ({"$ref": "https://example.org/x"}, r"\$ref: 'https://example.org/x' leads nowhere"),
        ({"$ref": "#/$defs/q"}, r"\$ref: '#/\$defs/q' leads nowhere"),
        ({"required": ["z"]}, "required: 'z' is not described in properties"),
    ],
)
def test_a_schema_that_genai_reads_otherwise_is_refused_by_place(schema, objection):
    """It ignores them without a word, and the answer would not be what the schema says."""
    found = form_objection("json_schema", schema)
    assert re.match(objection, str(found)), found


def test_a_schema_that_nests_too_deep_is_refused():
    """GenAI's compiler takes minutes for 2,000 levels, and nobody can interrupt it."""
    schema: object = {}
    for _ in range(100):
        schema = {"items": schema}
    assert "is nested too deep; at most 64 keys" in str(form_objection("json_schema", schema))


RECIPE = """\
model: {id: a}
variants: {int4: {generation: {regex: "[ab]+"}}}
generation: {json_schema: {type: integer}}
"""


def test_a_variants_form_takes_the_place_of_the_recipes(recipes: Recipes) -> None:
    """Two at once are refused, and nobody should have to write `null`."""
    recipe = recipes.load(RECIPE)
    assert recipe.generation_of("int4").given() == {"regex": "[ab]+"}
    assert recipe.generation.given() == {"json_schema": {"type": "integer"}}


def test_a_recipes_form_is_judged_with_the_recipe(recipes: Recipes) -> None:
    """At its place, before anything is built."""
    assert recipes.refusal(RECIPE.replace("integer", "int")).startswith(
        "recipes/r.yaml:3:14: generation.json_schema: type: must be one of"
    )


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("", "must be text that is not blank, got ''"),
        (7, "must be text that is not blank, got 7"),
        ("(" * 201 + ")" * 201, "has brackets 201 deep; at most 200 are compiled"),
        ("a" * 100_001, "has 100,001 characters; at most 100,000 are compiled"),
        ("a\0b", "holds a character that is no text"),
        ("\ud800", "holds a character that is no text"),
    ],
)
@pytest.mark.parametrize("name", ["regex", "grammar"])
def test_a_text_that_would_end_the_process_is_refused(name, text, objection):
    """GenAI's compiler overflows its stack from some 50,000 brackets on."""
    assert form_objection(name, text) == objection


def test_one_form_is_enough_and_some_parameters_would_leave_it():
    """Beams and `ignore_eos` make GenAI write what it likes."""
    assert [*form_problems({"regex": "a", "num_beams": 1, "ignore_eos": False})] == []
    assert [*form_problems({"regex": "a", "grammar": "b"})] == [
        ("grammar", "stands beside regex; keep one of them")
    ]
    [(name, _)] = form_problems({"json_schema": {}, "ignore_eos": []})
    assert name == "ignore_eos"
    [(name, reason)] = form_problems({"json_schema": {}, "num_beams": 2})
    assert (name, reason[:40]) == ("num_beams", "GenAI would leave the form that json_sch")
