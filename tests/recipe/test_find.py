"""Names of recipes and of their variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import RecipeInvalid, RecipeNotFound, RecipeSyntaxError
from ovrecipe.recipe.load import load_recipe, load_recipe_file
from ovrecipe.recipe.project import check_variant, recipe_names, split_target

from .conftest import MINIMAL

if TYPE_CHECKING:
    from .conftest import Recipes


def test_names_are_the_files_of_the_folder_without_hidden_ones(recipes: Recipes) -> None:
    """An editor's swap file and the JSON schema are no recipes; a broken recipe is one."""
    recipes.write(MINIMAL, "b")
    recipes.write("broken: [", "a")
    recipes.write("", ".hidden")
    (recipes.project.recipes_dir / "recipe.schema.json").write_text("{}")
    assert recipe_names(recipes.project) == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["../secret", "..", ".", "a/b", "a\\b", "/etc/passwd", "", " ", "a b", "a\n", "~", "é"]
)
def test_names_that_lead_elsewhere_are_refused(recipes: Recipes, name: str) -> None:
    """A name is a file in recipes/, never a path."""
    with pytest.raises(RecipeInvalid, match="is no recipe name"):
        load_recipe(recipes.project, name)


@pytest.mark.parametrize(
    ("name", "objection"),
    [
        ("nul", "Windows keeps 'nul' for a device"),
        ("CON", "Windows keeps 'CON' for a device"),
        ("aux.small", "Windows keeps 'aux' for a device"),
        ("com1", "Windows keeps 'com1' for a device"),
        ("phi-2.", "does not end in '.'"),
    ],
)
def test_names_that_one_system_cannot_write_are_refused_on_all(
    recipes: Recipes, name: str, objection: str
) -> None:
    """A recipe that is written on Linux is checked out on Windows."""
    with pytest.raises(RecipeInvalid, match=f"is no recipe name: .*{objection}"):
        load_recipe(recipes.project, name)


@pytest.mark.parametrize("name", ["null", "console", "com", "com10", "a.nul", "nul-2"])
def test_names_that_only_look_like_devices_are_names(recipes: Recipes, name: str) -> None:
    recipes.write(MINIMAL, name)
    assert load_recipe(recipes.project, name).name == name


def test_an_unknown_name_is_answered_with_the_closest(recipes: Recipes) -> None:
    """Typing mistakes are the usual reason."""
    recipes.write(MINIMAL, "smollm2-135m")
    with pytest.raises(RecipeNotFound, match=r"no recipe 'smolm2' .* meant 'smollm2-135m'"):
        load_recipe(recipes.project, "smolm2")


def test_an_unknown_name_without_a_close_one_lists_what_there_is(recipes: Recipes) -> None:
    """The user sees the choice without another command."""
    recipes.write(MINIMAL, "b")
    with pytest.raises(RecipeNotFound, match="there are: b"):
        load_recipe(recipes.project, "zzzzzz")


def test_two_files_with_one_name_are_refused(recipes: Recipes) -> None:
    """Which of the two is meant cannot be known."""
    path = recipes.write(MINIMAL, "a")
    path.with_suffix(".yml").write_text(MINIMAL)
    with pytest.raises(RecipeInvalid, match=r"a\.yaml and a\.yml have one name"):
        load_recipe(recipes.project, "a")


def test_a_missing_file_is_said_to_be_missing(recipes: Recipes) -> None:
    """`validate FILE` of a wrong path."""
    with pytest.raises(RecipeNotFound, match=r"gone\.yaml: no such file"):
        load_recipe_file(recipes.project.recipes_dir / "gone.yaml")


def test_a_folder_in_place_of_a_file_is_refused(recipes: Recipes) -> None:
    """What cannot be read has a reason, no traceback."""
    (recipes.project.recipes_dir / "folder.yaml").mkdir()
    assert recipe_names(recipes.project) == ["folder"]
    with pytest.raises(RecipeSyntaxError, match=r"folder\.yaml: is a folder"):
        load_recipe_file(recipes.project.recipes_dir / "folder.yaml")


@pytest.mark.parametrize(
    ("target", "parts"),
    [("a", ("a", None)), ("a:int4", ("a", "int4")), ("a.b:int4-npu", ("a.b", "int4-npu"))],
)
def test_a_target_is_a_name_and_perhaps_a_variant(
    target: str, parts: tuple[str, str | None]
) -> None:
    """The form that build and run take."""
    assert split_target(target) == parts


@pytest.mark.parametrize("target", ["a:", "a:../b", "a:b:c", "a:b/c"])
def test_a_target_with_a_bad_variant_is_refused(target: str) -> None:
    """A variant's name becomes a folder under models/."""
    with pytest.raises(RecipeInvalid, match="names no variant"):
        split_target(target)


def test_an_unknown_variant_is_answered_with_the_closest(recipes: Recipes) -> None:
    """The remedy can be copied."""
    recipe = recipes.load("model: {id: a}\nvariants: {int4-npu: {}, int8: {}}\n")
    with pytest.raises(RecipeNotFound, match=r"no variant 'int4_npu'; .* meant 'r:int4-npu'"):
        check_variant(recipe, "int4_npu")
