"""`plugins: NAME:` in a recipe belongs to a plugin and is validated like the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import PluginError, RecipeInvalid
from ovrecipe.hooks.manager import load_plugins
from ovrecipe.hooks.probing import sample_recipe
from ovrecipe.hooks.sections import validate_sections
from ovrecipe.recipe.load import load_recipe_file
from tests.hooks.installed import Site, compressor_code

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.hooks.manager import Plugins

SECTION = """
from ovrecipe.recipe.sections import Section

class Settings(Section):
    max_size_mb: float = 100.0
    keep: tuple[str, ...] = ()

@hookimpl
def get_recipe_section(name):
    return Settings if name == "budget" else None
"""
RECIPE = """\
model: {id: example/model}
variants: {fp16: {}}
plugins:
  budget:
"""


@pytest.fixture
def plugins(site: Site) -> Plugins:
    site.install("budget", compressor_code("budget") + SECTION)
    site.install("other", compressor_code("other"))
    return load_plugins(env={}, find=site.find)


def test_a_section_is_part_of_the_keys_of_its_plugin_only(plugins: Plugins) -> None:
    """Another budget is another artifact; a budget is nothing to the compressor beside it."""
    recipe = sample_recipe({"budget": {"max_size_mb": 50}})
    own = plugins.provider("compressor", "budget", recipe).key_fields()
    other = plugins.provider("compressor", "other", recipe).key_fields()
    assert own["sections"] == {"budget": {"max_size_mb": 50.0, "keep": []}}
    assert other["sections"] == {}


def test_a_recipe_without_sections_imports_no_plugin(plugins: Plugins, site: Site) -> None:
    validate_sections(sample_recipe(), plugins)
    assert site.imported == []


def test_only_the_plugin_of_the_section_is_imported(plugins: Plugins, site: Site) -> None:
    validate_sections(sample_recipe({"budget": {"keep": ["lm_head"]}}), plugins)
    assert site.imported == ["budget"]


def test_every_problem_of_a_section_is_told_with_its_place(
    plugins: Plugins, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE + "    max_size: 5\n    keep: [1]\n")
    with pytest.raises(RecipeInvalid) as caught:
        validate_sections(load_recipe_file(path), plugins)
    first, second = caught.value.message.splitlines()
    assert first.endswith(
        "tiny.yaml:5:5: plugins.budget.max_size: unknown key; perhaps you meant 'max_size_mb'"
    )
    assert second.endswith(
        "tiny.yaml:6:12: plugins.budget.keep[0]: must be text, got 1; put it in quotes"
    )


def test_a_section_of_no_plugin_is_refused(plugins: Plugins, tmp_path: Path) -> None:
    """It would be ignored in silence otherwise."""
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("budget:", "bugdet: {}"))
    expected = r"tiny\.yaml:4:3: plugins\.bugdet: no plugin owns this section"
    with pytest.raises(RecipeInvalid, match=expected):
        validate_sections(load_recipe_file(path), plugins)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [("7", "returned 7, no pydantic class"), ("{}[name]", "get_recipe_section raised KeyError")],
)
def test_a_hook_that_breaks_the_contract_is_named(site: Site, returned: str, reason: str) -> None:
    code = SECTION.replace('Settings if name == "budget" else None', returned)
    site.install("budget", compressor_code("x") + code)
    with pytest.raises(PluginError, match=rf"'budget' \(ovrecipe-budget 1\.0\).*{reason}"):
        validate_sections(sample_recipe({"budget": {}}), load_plugins(env={}, find=site.find))


def test_a_wrong_section_stops_every_lookup(plugins: Plugins) -> None:
    """Also that of a built-in provider: a build starts with the source."""
    with pytest.raises(RecipeInvalid, match="max_size_mb: must be a number"):
        plugins.provider("source", "hub", sample_recipe({"budget": {"max_size_mb": "much"}}))
