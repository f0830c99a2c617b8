"""`plugins: NAME:` in a recipe belongs to a plugin and is validated like the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import PluginError, ProviderClaimedTwice, RecipeInvalid
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.recipe.load import load_recipe_file
from tests.hooks.installed import COMPRESSOR, Site, compressor_code

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins

SECTION = """
from ovrecipe.recipe.sections import Section

class Settings(Section):
    max_size_mb: float = 100.0
    keep: tuple[str, ...] = ()
"""
POINTS = """[ovrecipe.compressor]
budget = MODULE:Compressor
[ovrecipe.recipe_section]
budget = MODULE:Settings"""
RECIPE = """\
model: {id: example/model}
variants: {fp16: {}}
plugins:
  budget:
"""


@pytest.fixture
def plugins(site: Site) -> Plugins:
    site.install("budget", COMPRESSOR + SECTION, points=POINTS)
    site.install("other")
    return load_plugins(env={}, find=site.find)


def test_a_section_is_part_of_the_keys_of_its_plugin_only(plugins: Plugins) -> None:
    """Another budget is another artifact; a budget is nothing to the compressor beside it."""
    recipe = sample_recipe({"budget": {"max_size_mb": 50}})
    own = plugins.provider("compressor", "budget", recipe).key_fields()
    other = plugins.provider("compressor", "other", recipe).key_fields()
    assert own["sections"] == {"budget": {"max_size_mb": 50.0}}
    assert other["sections"] == {}


@pytest.mark.parametrize("section", [{}, {"max_size_mb": 100}, {"keep": []}])
def test_a_section_that_says_the_defaults_changes_no_key(
    plugins: Plugins, section: dict[str, object]
) -> None:
    """Written or not, it means the same."""
    recipe = sample_recipe({"budget": section})
    assert plugins.provider("compressor", "budget", recipe).key_fields()["sections"] == {}


def test_a_section_of_a_file_is_part_of_its_keys(tmp_path: Path) -> None:
    """A plugin of one file has all that a distribution has."""
    path = tmp_path / "mine.py"
    code = compressor_code("mine", COMPRESSOR + SECTION)
    given = "{\"compressor\": {'mine': Compressor}"
    assert given in code
    path.write_text(code.replace(given, given + ', "recipe_section": {"mine": Settings}'))
    plugins = load_plugins(env={}, options=[str(path)])
    found = plugins.provider("compressor", "mine", sample_recipe({"mine": {"max_size_mb": 1}}))
    assert found.key_fields()["sections"] == {"mine": {"max_size_mb": 1.0}}


def test_a_recipe_without_sections_imports_no_plugin(plugins: Plugins, site: Site) -> None:
    assert plugins.sections(sample_recipe()) == {}
    assert site.imported == []


def test_only_the_plugin_of_the_section_is_imported(plugins: Plugins, site: Site) -> None:
    plugins.sections(sample_recipe({"budget": {"keep": ["lm_head"]}}))
    assert site.imported == ["budget"]


def test_every_problem_of_a_section_is_told_with_its_place(
    plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE + "    max_size: 5\n    keep: [1]\n")
    with pytest.raises(RecipeInvalid) as caught:
        plugins.sections(load_recipe_file(path))
    first, second = caught.value.message.splitlines()
    assert first.endswith(
        "tiny.yaml:5:5: plugins.budget.max_size: unknown key; perhaps you meant 'max_size_mb'"
    )
    expected = "tiny.yaml:6:12: plugins.budget.keep[0]: must be text, got 1; put it in quotes"
    assert second.endswith(expected)


def test_a_section_of_no_plugin_is_refused(plugins: Plugins, tmp_path: Path) -> None:
    """It would be ignored in silence otherwise."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("budget:", "bugdet: {}"))
    expected = r"tiny\.yaml:4:3: plugins\.bugdet: no plugin owns this section"
    with pytest.raises(RecipeInvalid, match=expected):
        plugins.sections(load_recipe_file(path))


def test_a_section_of_two_plugins_is_refused(site: Site, plugins: Plugins) -> None:
    """Each of them would validate it another way."""
    site.install("more", COMPRESSOR + SECTION, points=POINTS)
    with pytest.raises(ProviderClaimedTwice, match=r"section 'budget' .*\(ovrecipe-more 1"):
        plugins.sections(sample_recipe({"budget": {}}))


def test_a_section_without_a_pydantic_class_is_blamed_on_its_plugin(site: Site) -> None:
    points = "[ovrecipe.recipe_section]\nbudget = MODULE:Compressor"
    site.install("budget", points=points)
    with pytest.raises(PluginError, match=r"'budget' \(ovrecipe-budget 1\.0\).* no pydantic class"):
        load_plugins(env={}, find=site.find).sections(sample_recipe({"budget": {}}))


def test_a_section_whose_class_raises_is_blamed_on_its_plugin(site: Site) -> None:
    """It is asked before anything else, so its traceback would hide whose it is."""
    raises = "\n    def objections(self):\n        raise KeyError('deep')\n"
    site.install("budget", COMPRESSOR + SECTION + raises, points=POINTS)
    plugins = load_plugins(env={}, find=site.find)
    with pytest.raises(PluginError, match=r"'budget' of plugin .* raised KeyError: 'deep'"):
        plugins.sections(sample_recipe({"budget": {}}))


def test_a_wrong_section_stops_every_lookup(plugins: Plugins) -> None:
    """Also that of a built-in provider: a build starts with the source."""
    with pytest.raises(RecipeInvalid, match="max_size_mb: must be a number"):
        plugins.provider("source", "hub", sample_recipe({"budget": {"max_size_mb": "much"}}))
