"""A runner around a pipeline without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ovrecipe.build.stages.assemble import plain_to_jinja
from ovrecipe.hooks.loading import object_source
from ovrecipe.hooks.provided import Provided
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.chain import ChosenFilter
from ovrecipe.run.prompt import ChatTemplate, PromptSettings
from ovrecipe.run.runner import Runner
from ovrecipe.testing import FakePipeline
from ovrecipe.version import package_version


def recipe(**sections: Any) -> Recipe:
    """Return a recipe with one int4 variant; sections replace its own."""
    return Recipe.model_validate(
        {
            "name": "fake",
            "path": Path("recipes/fake.yaml"),
            "model": {"id": "org/fake"},
            "prompt": {"template": "Q: {instruction}\nA:"},
            "variants": {"int4": {}},
            **sections,
        }
    )


def theirs() -> None:
    """Stand for a plugin."""


def plugin_filter(provider: Any) -> ChosenFilter:
    """Return a filter of a plugin, as a recipe chooses it."""
    return ChosenFilter(Provided(provider, "mine", object_source(theirs), {}, package_version))


def template_of(given: Recipe) -> ChatTemplate:
    """Return what a build makes of the recipe's plain template."""
    prompt = given.prompt
    text = plain_to_jinja(prompt.template or "{instruction}", system=prompt.system or "")
    settings = PromptSettings(
        add_special_tokens=prompt.add_special_tokens, system=prompt.system or ""
    )
    return ChatTemplate(text, settings=settings)


def runner(pipeline: FakePipeline | None = None, **options: Any) -> Runner:
    """Return a runner; `recipe` and all of Runner's own options may be given."""
    given = options.pop("recipe", None) or recipe()
    return Runner(
        pipeline or FakePipeline(),
        recipe=given,
        variant="int4",
        template=options.pop("template", None) or template_of(given),
        **options,
    )
