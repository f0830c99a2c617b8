"""`ovrecipe list` and `ovrecipe show`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest
import yaml

from ovrecipe.recipe.project import find_project
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.build.making import FAKE_PLUGIN, fake_recipe, publish_fakes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Outcome

CHILD = """\
extends: one
variants: {int8: {generation: {top_k: 3}}}
generation: {temperature: 0.5}
"""


def test_list_shows_variants_and_what_is_built(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """The first command that a user of a strange project types."""
    done = ovrecipe("list")
    assert done.code == 0
    assert "org/name" in done.out
    assert "int8 not built" in done.out
    assert "int4-npu optional" in done.out


def viewed(project: Path, recipe: str) -> None:
    """Let the view of int8 lead to an artifact that nobody asks for."""
    (project / "store" / "x").mkdir(parents=True)
    set_view(Store(project / "store"), project / "models", recipe, "int8", project / "store" / "x")


def made_recipe(project: Path, group_size: int) -> None:
    """Write a recipe whose stages take no time."""
    document = {**fake_recipe(), "variants": {"int4": {"compressor": "fake"}}}
    document["variants"]["int4"]["group_size"] = group_size
    (project / "recipes" / "one.yaml").write_text(yaml.safe_dump(document))


def test_what_was_built_from_other_settings_is_stale(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """It is there and can be run, but it is not what the recipe says."""
    made_recipe(project, group_size=64)
    publish_fakes(find_project(project, {}), "one", "int4")
    list_ = partial(ovrecipe, "-p", FAKE_PLUGIN, "list")
    assert "int4 built" in list_().out
    made_recipe(project, group_size=32)
    assert "int4 stale" in list_().out
    [one] = json.loads(list_("--json").out)["recipes"]
    assert (one["variants"][0]["built"], one["variants"][0]["stale"]) == (False, True)
    made_recipe(project, group_size=64)
    assert "int4 built" in list_().out


@pytest.mark.parametrize("model_id", ["org/name", "./gone", "nobody:knows", "made:bug"])
def test_a_source_that_cannot_be_asked_breaks_no_list(
    project: Path, ovrecipe: Callable[..., Outcome], model_id: str
) -> None:
    """Whether the artifact is the wanted one cannot be known then, so nobody vouches for it."""
    text = f"model: {{id: '{model_id}'}}\nvariants: {{int8: {{}}}}\n"
    (project / "recipes" / "two.yaml").write_text(text)
    viewed(project, "two")
    done = ovrecipe("-p", FAKE_PLUGIN, "list")
    assert done.code == 0
    assert "int8 stale" in done.out


def test_a_broken_recipe_is_listed_and_hides_no_other(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """One slip must not take the whole list away."""
    (project / "recipes" / "bad.yaml").write_text("model: {id: 1}\nvariants: {int8: {}}\n")
    done = ovrecipe("list")
    assert done.code == 3
    assert "org/name" in done.out
    assert "recipes/bad.yaml:1:13: model.id: must be text" in done.err


def test_list_as_json(project: Path, ovrecipe: Callable[..., Outcome]) -> None:
    """Programs read one document, broken recipes included."""
    (project / "recipes" / "bad.yaml").write_text("[")
    done = ovrecipe("list", "--json")
    bad, one = json.loads(done.out)["recipes"]
    assert done.code == 3
    assert bad["name"] == "bad"
    assert "recipes/bad.yaml:2:1: " in bad["error"]
    assert one["variants"] == [
        {"name": "int8", "precision": "int8", "optional": False, "built": False, "stale": False},
        {"name": "int4-npu", "precision": "int4", "optional": True, "built": False, "stale": False},
    ]


def test_a_project_without_recipes_says_what_to_do(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """An empty table would help nobody."""
    (project / "recipes" / "one.yaml").unlink()
    assert "ovrecipe new MODEL_ID" in ovrecipe("list").out


def test_show_says_where_each_value_comes_from(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """With extends and defaults, a value may come from three places."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    out = ovrecipe("show", "child").out
    origins = {line.split(":")[0].strip(): line.split("# ")[-1] for line in out.splitlines()}
    assert origins["id"] == "recipes/one.yaml:1"
    assert origins["temperature"] == "recipes/child.yaml:3"
    assert origins["exporter"] == "default"
    assert origins["precision"] == "from the variant's name"


def test_what_show_prints_is_a_recipe_of_the_same_meaning(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """The output can be saved as a recipe of its own."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    (project / "recipes" / "copy.yaml").write_text(
        ovrecipe("show", "child").out.replace("extends:", "# extends:")
    )
    child = json.loads(ovrecipe("show", "child", "--json").out)
    copy = json.loads(ovrecipe("show", "copy", "--json").out)
    assert copy | {"name": "child", "extends": "one"} == child
    assert yaml.safe_load(ovrecipe("show", "child").out)["variants"]["int8"]["precision"] == "int8"


def test_show_of_a_variant_has_its_effective_generation(
    project: Path, ovrecipe: Callable[..., Outcome]
) -> None:
    """What the variant really gets, overrides applied."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    shown = json.loads(ovrecipe("show", "child:int8", "--json").out)
    assert list(shown["variants"]) == ["int8"]
    assert shown["generation"]["top_k"] == 3
    assert shown["generation"]["temperature"] == 0.5
    generation = ovrecipe("show", "child:int8").out.split("\ngeneration:")[1]
    assert "top_k: 3" in generation
    assert "recipes/child.yaml:2" in generation


def test_show_of_what_is_not_there(project: Path, ovrecipe: Callable[..., Outcome]) -> None:
    """Exit code 3, the closest name, no traceback."""
    done = ovrecipe("show", "one:int9")
    assert done.code == 3
    assert done.err == (
        "ovrecipe: recipe 'one' has no variant 'int9'; perhaps you meant 'one:int8'\n"
        "  it has: int8, int4-npu\n"
    )
    assert ovrecipe("show", "../one").code == 3
    assert "is no recipe name" in ovrecipe("show", "a/b").err
