"""What the words `NAME` and `NAME:VARIANT` of a command line mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ovrecipe.build.run import Target
from ovrecipe.recipe.project import Project, check_variant, find_project, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import typer

    from ovrecipe.build.context import BuildContext
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.recipe.schema import Recipe


@dataclass
class Session:
    """One call of the command line; project and plugins are looked up when first needed."""

    env: Mapping[str, str]
    cwd: Path
    plugin_options: tuple[str, ...] = ()

    @cached_property
    def project(self) -> Project:
        """The project of the working directory."""
        return find_project(self.cwd, self.env)

    @cached_property
    def plugins(self) -> Plugins:
        """Built-in and installed plugins, and those of `-p`."""
        from ovrecipe.hooks.plugins import load_plugins

        return load_plugins(env=self.env, options=self.plugin_options)

    def recipe_names(self) -> list[str]:
        """Return the names of the project's recipes."""
        from ovrecipe.recipe.project import recipe_names

        return recipe_names(self.project)

    def recipe(self, name: str) -> Recipe:
        """Return the validated recipe of that name."""
        from ovrecipe.recipe.load import load_recipe

        return load_recipe(self.project, name)


def session_of(ctx: typer.Context) -> Session:
    """Return the session that the root command made."""
    found = ctx.find_object(Session)
    assert found is not None, "the root callback runs before every command"
    return found


def targets_of(context: BuildContext, words: Sequence[str]) -> tuple[Target, ...]:
    """Return the variants that the words name: all but the optional ones for a bare name.

    Raises:
        RecipeError: a recipe or a variant does not exist; checked for all words before any work.
    """
    found: dict[Target, None] = {}
    for word in words:
        name, variant = split_target(word)
        recipe = context.plan(name).recipe
        if variant is not None:
            check_variant(recipe, variant)
        for each in recipe.default_variants() if variant is None else (variant,):
            found[Target(name, each)] = None
    return tuple(found)
