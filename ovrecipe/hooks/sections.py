"""Sections of a recipe that belong to plugins: `plugins: NAME: {...}`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from ovrecipe.errors import PluginError, RecipeInvalid
from ovrecipe.hooks.loading import call
from ovrecipe.hooks.refusals import hook_raised

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.hooks.loading import PluginSource
    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json

    SectionModel = TypeVar("SectionModel", bound=BaseModel)


def section_of(recipe: Recipe, name: str, model: type[SectionModel]) -> SectionModel:
    """Return a plugin's section of a recipe; all defaults where the recipe has none.

    Raises:
        RecipeInvalid: the section does not fit `model`; every problem on a line of its own.
    """
    from pydantic import ValidationError

    from ovrecipe.recipe.problems import option_problems

    try:
        return model.model_validate_json(json.dumps(recipe.plugins.get(name, {})))
    except ValidationError as error:
        problems = option_problems(error, model=model, tree=recipe.tree, loc=("plugins", name))
        raise RecipeInvalid("\n".join(map(str, sorted(problems)))) from error


def validate_sections(recipe: Recipe, plugins: Plugins) -> None:
    """Validate every section under `plugins:` with the class of the plugin that owns it.

    Imports no plugin when the recipe has no such section.

    Raises:
        RecipeInvalid: a section is wrong, or no plugin owns it.
    """
    from ovrecipe.recipe.problems import place_in_recipe

    for name in recipe.plugins:
        model = _owners_model(plugins, name)
        if model is None:
            raise RecipeInvalid(
                f"{place_in_recipe(recipe, ('plugins', name))}: plugins.{name}: "
                "no plugin owns this section",
                remedy="install the plugin or remove the section; 'ovrecipe plugins' lists them",
            )
        section_of(recipe, name, model)


def own_sections(
    plugins: Plugins, source: PluginSource, recipe: Recipe
) -> dict[str, dict[str, Json]]:
    """Return the sections that one plugin owns, validated, as JSON for a cache key."""
    models = {name: _model_of(plugins, source, name) for name in recipe.plugins}
    return {
        name: section_of(recipe, name, model).model_dump(mode="json")
        for name, model in models.items()
        if model is not None
    }


def _owners_model(plugins: Plugins, name: str) -> type[BaseModel] | None:
    """Return the class of a section; the plugin that is called like it is asked first."""
    first = [each for each in plugins.enabled if each.name == name]
    rest = (each for each in plugins.enabled if each not in first)
    models = (_model_of(plugins, each, name) for each in (*first, *rest))
    return next((model for model in models if model is not None), None)


def _model_of(plugins: Plugins, source: PluginSource, name: str) -> type[BaseModel] | None:
    impl = plugins.loaded(source).hooks.get("get_recipe_section")
    if impl is None:
        return None
    try:
        model: type[BaseModel] | None = call(impl, {"name": name})
    except (Exception, SystemExit) as error:
        raise hook_raised(source, "get_recipe_section", error) from error
    if model is not None and not hasattr(model, "model_validate"):
        raise PluginError(
            f"{source}: get_recipe_section({name!r}) returned {model!r}, no pydantic class"
        )
    return model
