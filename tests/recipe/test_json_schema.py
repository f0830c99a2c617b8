"""The JSON schema for editors."""

from __future__ import annotations

import json

from ovrecipe.recipe.project import bundled_recipes_dir
from ovrecipe.recipe.writing import FILE_NAME, recipe_json_schema, schema_text


def test_the_committed_schema_is_the_one_of_the_classes() -> None:
    """Renew it with `ovrecipe schema --write recipes/recipe.schema.json`."""
    assert (bundled_recipes_dir() / FILE_NAME).read_text("utf-8") == schema_text()


def test_the_schema_is_that_of_a_file() -> None:
    """A file gives no name or path, and needs no model when it extends another."""
    schema = recipe_json_schema()
    assert not {"name", "path"} & set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert schema["anyOf"] == [{"required": ["model", "variants"]}, {"required": ["extends"]}]
    assert "precision" not in schema["$defs"]["Variant"]["required"]
    assert json.loads(schema_text()) == schema
