"""docs/recipes.md says everything, and what it says is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe.recipe import assistants, compression, schema

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .conftest import Recipes

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text("utf-8")
BLOCKS = re.findall(r"```(yaml|text)\n(.*?)```", TEXT, re.DOTALL)
SECTIONS: dict[str, list[type[BaseModel]]] = {
    "Keys at the top": [schema.Recipe],
    "requires": [schema.Requires],
    "model": [schema.Model],
    "tokenizer": [schema.Tokenizer],
    "prompt": [schema.Prompt],
    "variants": [schema.Variant, compression.IgnoredScope],
    "generation": [schema.GenerationParameters],
    "embedding": [schema.Embedding],
    "rerank": [schema.Rerank],
    "draft": [assistants.Draft],
    "adapters": [assistants.Adapter],
    "accept": [schema.Accept],
    "check": [schema.Check, schema.ProviderSpec],
    "output": [schema.Output, schema.ProviderSpec],
}


def documented(heading: str) -> set[str]:
    """Return the keys in the tables below a heading."""
    body = TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", body, re.MULTILINE))


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_documented_and_no_other(heading: str) -> None:
    """A key that is not in the manual does not exist for users."""
    keys = {
        field.alias or name
        for model in SECTIONS[heading]
        for name, field in model.model_fields.items()
    }
    other = {"org"}  # the table of ids stands under `model` too, with values that are no keys
    own = {"check": {"name"}, "output": {"name"}, "adapters": {"path"}}.get(heading, set())
    assert documented(heading) - other == keys - {"name", "path"} | own


def test_editors_show_the_manuals_words() -> None:
    """Two texts about one key would drift apart."""
    rows = re.findall(r"^\| `([a-z_]+)` \|(?:.*?\|)? (.*) \|$", TEXT, re.MULTILINE)
    manual = {(key, text.split(" | ")[-1]) for key, text in rows}
    for model in (model for models in SECTIONS.values() for model in models):
        for name, field in model.model_fields.items():
            if model is not schema.Recipe or name not in schema.FROM_THE_FILE:
                assert (field.alias or name, field.description) in manual


def examples() -> list[tuple[str, str, str | None]]:
    """Return (name, text, expected message) of every example."""
    found: list[tuple[str, str, str | None]] = []
    for kind, text in BLOCKS:
        if kind == "text":
            name, yaml, _ = found[-1]
            found[-1] = (name, yaml, text)
        else:
            name = re.match(r"# recipes/(\S+)\.yaml\n", text)
            assert name, f"an example starts with its file's name: {text[:40]!r}"
            found.append((name[1], text, None))
    return found


def test_every_example_does_what_the_manual_says(recipes: Recipes) -> None:
    """Examples are copied; a wrong one is worse than none."""
    made: dict[str, Any] = {}
    for name, text, expected in examples():
        if expected is None:
            made[name] = recipes.load(text, name)
        else:
            assert recipes.judged(text, name) == expected.rstrip("\n")
    child = made["my-fine-tune"]
    assert list(child.variants) == ["fp16", "int4", "int4-npu"]
    assert (child.variants["int4"].group_size, child.variants["int4"].ratio) == (128, 1.0)
    assert child.prompt.template is None
