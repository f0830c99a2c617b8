"""What a recipe requires to be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import RecipeInvalid
from ovrecipe.recipe.load import check_requirements
from ovrecipe.version import package_version

from .conftest import MINIMAL

if TYPE_CHECKING:
    from .conftest import Recipes


def installed(distribution: str) -> str | None:
    return {"ovrecipe-awq": "0.2.0"}.get(distribution)


def test_met_requirements_pass(recipes: Recipes) -> None:
    """Loose specifiers and an empty one are fine."""
    text = "requires: {ovrecipe: '>=0.1', plugins: {ovrecipe-awq: '>=0.2,<1'}}\n"
    check_requirements(recipes.load(MINIMAL + text), installed=installed)


def test_what_is_missing_is_named_with_the_command_that_installs_it(recipes: Recipes) -> None:
    """All of it at once: one pip call repairs everything."""
    text = "requires: {ovrecipe: '>=99', plugins: {ovrecipe-awq: '>=3', other: ''}}\n"
    with pytest.raises(RecipeInvalid, match="requires") as caught:
        check_requirements(recipes.load(MINIMAL + text), installed=installed)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("recipe 'r' requires ovrecipe>=99, but this is ovrecipe ")
    assert lines[1] == "recipe 'r' requires ovrecipe-awq>=3, but ovrecipe-awq 0.2.0 is installed"
    assert lines[2] == "recipe 'r' requires other, which is not installed"
    assert lines[3] == "  pip install 'ovrecipe>=99' 'ovrecipe-awq>=3' 'other'"


def test_versions_are_asked_of_this_environment() -> None:
    """The default looks at installed distributions, without importing them."""
    assert package_version("pydantic")
    assert package_version("surely-not-installed-here") is None
