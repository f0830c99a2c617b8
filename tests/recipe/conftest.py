"""A project's folder with recipes in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.build.judge import recipe_errors
from ovrecipe.errors import RecipeError
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project, find_project

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe

MINIMAL = "model: {id: org/name}\nvariants: {int8: {}}\n"


class Recipes:
    """Writes and reads recipes of one project."""

    def __init__(self, root: Path) -> None:
        (root / "recipes").mkdir()
        self.project: Project = find_project(root, {})

    def write(self, text: str | bytes, name: str = "r") -> Path:
        path = self.project.recipes_dir / f"{name}.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | bytes, name: str = "r") -> Recipe:
        self.write(text, name)
        return load_recipe(self.project, name)

    def refusal(self, text: str | bytes, name: str = "r") -> str:
        """Return the message with which the recipe is refused."""
        with pytest.raises(RecipeError, match=r".+") as caught:
            self.load(text, name)
        return caught.value.message

    def judged(self, text: str, name: str = "r") -> str:
        """Return what `validate` says, in lines: of the file, or else of what its providers say."""
        try:
            recipe = self.load(text, name)
        except RecipeError as error:
            return error.message
        return "\n".join(error.message for error in recipe_errors(recipe, load_plugins(env={})))


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    return Recipes(tmp_path)


@pytest.fixture
def variant(recipes: Recipes) -> Callable[[str], str]:
    """Return the problems of a recipe with that variant, without the file's name."""

    def problems(text: str) -> str:
        message = recipes.judged(f"model: {{id: a}}\nvariants: {{{text}}}\n")
        return message.replace("recipes/r.yaml:", "")

    return problems
