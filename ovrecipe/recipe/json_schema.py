"""The JSON schema that editors complete and check recipes with."""

from __future__ import annotations

import json
from typing import Any

from ovrecipe.recipe.descriptions import DESCRIPTIONS
from ovrecipe.recipe.schema import Recipe

FILE_NAME = "recipe.schema.json"
#: The first line of every recipe; editors with a YAML language server follow it.
MODELINE = f"# yaml-language-server: $schema={FILE_NAME}"


def recipe_json_schema() -> dict[str, Any]:
    """Return the schema of a recipe file, which is the Recipe class seen from a file."""
    schema = Recipe.model_json_schema(by_alias=True)
    for key in ("name", "path"):
        del schema["properties"][key]
    schema["title"] = "ovrecipe recipe"
    schema["description"] = "One model, its prompt, and the variants to build from it."
    # What a recipe extends may have the model and the variants.
    schema["required"] = []
    schema["anyOf"] = [{"required": ["model", "variants"]}, {"required": ["extends"]}]
    definitions = schema["$defs"]
    definitions["Model"]["required"] = []
    _let_the_name_say_the_precision(schema, definitions["Variant"])
    _let_an_entry_be_a_name(definitions["Output"]["properties"]["filters"], "FilterSpec")
    _let_an_entry_be_a_name(definitions["Check"]["properties"]["evaluators"], "EvaluatorSpec")
    _describe({**definitions, "Recipe": schema})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as the text of its file."""
    return json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False) + "\n"


def _let_the_name_say_the_precision(schema: dict[str, Any], variant: dict[str, Any]) -> None:
    variant["required"] = []
    variants = schema["properties"]["variants"]
    for key in ("additionalProperties", "patternProperties"):
        variants.pop(key, None)
    variants["minProperties"] = variants.pop("minLength")
    variants["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/Variant"}, {"type": "null"}]}


def _let_an_entry_be_a_name(entries: dict[str, Any], definition: str) -> None:
    one_pair = {"minProperties": 1, "maxProperties": 1, "not": {"required": ["name"]}}
    with_options = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    entries["items"] = {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"$ref": f"#/$defs/{definition}"},
            {**with_options, **one_pair},
        ]
    }


def _describe(sections: dict[str, Any]) -> None:
    """Put the manual's words on every key; drop titles and the defaults of whole sections."""
    words = {**DESCRIPTIONS, "CompressionPass": DESCRIPTIONS["Variant"]}
    for name, section in sections.items():
        section["description"] = section["description"].split("\n\n")[0]
        for key, value in section["properties"].items():
            value.pop("title", None)
            if isinstance(value.get("default"), dict) or value.get("default", 0) is None:
                del value["default"]
            value["description"] = words[name][key]
