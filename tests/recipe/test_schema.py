"""Recipes as objects: frozen, picklable, cheap."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

if TYPE_CHECKING:
    from .conftest import Recipes

FULL = """\
model: {id: a}
variants:
  int8: {}
  int4: {sym: true, group_size: 64, generation: {top_k: null, temperature: 0.5}}
  int4-npu: {optional: true, sym: true}
  int4-two: {passes: [{ratio: 0.5, dataset: texts.jsonl}, {mode: int8_asym}]}
  fp16: {}
generation: {top_k: 7, top_p: 0.5}
output: {filters: [a, b: {x: [1]}, c: , {name: d}]}
plugins: {web: {share: [1, {deep: 2}]}}
"""


def test_nothing_in_a_recipe_can_be_changed(recipes: Recipes) -> None:
    """Keys are computed from it; a changed recipe would build something else under them."""
    recipe = recipes.load(FULL)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.model.id = "b"  # type: ignore[misc]
    web = recipe.plugins["web"]
    changes = [
        lambda: recipe.variants.pop("int8"),  # type: ignore[attr-defined]
        lambda: web.update(a=1),
        lambda: web.__setitem__("a", 1),
        web["share"][1].clear,
        lambda: recipe.output.filters[1].options.setdefault("y", 1),  # type: ignore[attr-defined]
    ]
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert isinstance(web["share"], tuple)


def test_a_recipe_survives_pickling(recipes: Recipes) -> None:
    """Doit's processes send recipes to each other."""
    recipe = recipes.load(FULL)
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    with pytest.raises(TypeError, match="cannot be changed"):
        again.variants.clear()


def test_the_precision_is_the_first_part_of_the_name(recipes: Recipes) -> None:
    """`int4-npu` is int4; nobody should have to say it twice."""
    recipe = recipes.load(FULL)
    assert {name: variant.precision for name, variant in recipe.variants.items()} == {
        "int8": "int8",
        "int4": "int4",
        "int4-npu": "int4",
        "int4-two": "int4",
        "fp16": "fp16",
    }
    assert recipe.default_variants() == ("int8", "int4", "int4-two", "fp16")


def test_passes_are_none_for_fp16_one_for_knobs_and_all_that_are_listed(recipes: Recipes) -> None:
    """The compressor sees passes only."""
    variants = recipes.load(FULL).variants
    assert variants["fp16"].compression_passes() == ()
    [one] = variants["int4"].compression_passes()
    assert (one.group_size, one.mode_for("int4")) == (64, "int4_sym")
    assert type(one).__name__ == "CompressionPass"
    assert "precision" not in one.model_dump()
    two = variants["int4-two"].compression_passes()
    assert [compression.mode_for("int4") for compression in two] == ["int4_asym", "int8_asym"]


def test_a_variants_generation_overrides_and_takes_back(recipes: Recipes) -> None:
    """`null` in a variant means GenAI's own value, not the recipe's."""
    recipe = recipes.load(FULL)
    assert recipe.generation_of("int4").given() == {"top_p": 0.5, "temperature": 0.5}
    assert recipe.generation_of("int8").given() == {"top_p": 0.5, "top_k": 7}


def test_filters_are_names_or_names_with_options(recipes: Recipes) -> None:
    """The short form for what needs no options."""
    filters = recipes.load(FULL).output.filters
    assert [(spec.name, dict(spec.options)) for spec in filters] == [
        ("a", {}),
        ("b", {"x": (1,)}),
        ("c", {}),
        ("d", {}),
    ]


def test_a_data_set_is_relative_to_the_recipe(recipes: Recipes) -> None:
    """The folder from which a command was started does not matter."""
    recipe = recipes.load(FULL)
    [first, second] = recipe.variants["int4-two"].compression_passes()
    assert first.dataset_path(recipe.recipe_dir) == recipes.project.recipes_dir / "texts.jsonl"
    assert second.dataset_path(recipe.recipe_dir) is None


def test_reading_recipes_imports_nothing_heavy(recipes: Recipes) -> None:
    """Listing recipes must not cost the seconds that torch or openvino take."""
    path = recipes.write(FULL)
    code = (
        "import sys, pathlib; from ovrecipe.recipe.load import load_recipe_file;"
        f"load_recipe_file(pathlib.Path({str(path)!r}));"
        "heavy = {'openvino', 'openvino_genai', 'nncf', 'optimum', 'transformers', 'torch',"
        " 'rich', 'typer', 'jinja2', 'packaging', 'doit'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_path_is_absolute(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start elsewhere."""
    from ovrecipe.recipe.load import load_recipe_file

    recipes.write(FULL)
    monkeypatch.chdir(recipes.project.root)
    assert load_recipe_file(Path("recipes/r.yaml")).path == recipes.project.recipes_dir / "r.yaml"
