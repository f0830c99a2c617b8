"""What the words `NAME` and `NAME:VARIANT` of a command line mean, and whether that is built."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from ovrecipe.recipe.project import Project, check_variant, find_project, split_target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import typer

    from ovrecipe.build.context import BuildContext, RecipePlan
    from ovrecipe.build.run import Target
    from ovrecipe.cli.config import Defaults
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.recipe.schema import Recipe

#: "stale" was built from other settings than the recipe's of now.
State: TypeAlias = Literal["built", "stale", "not built"]


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

    @cached_property
    def defaults(self) -> Defaults:
        """What counts where the command line names no model and no device."""
        from ovrecipe.cli.config import read_defaults

        return read_defaults(self.env, self.project.root)

    def recipe_names(self) -> list[str]:
        """Return the names of the project's recipes."""
        from ovrecipe.recipe.project import recipe_names

        return recipe_names(self.project)

    def recipe(self, name: str) -> Recipe:
        """Return the validated recipe of that name."""
        from ovrecipe.recipe.load import load_recipe

        return load_recipe(self.project, name)

    def build_context(self, *, force: bool = False, jobs: int = 2) -> BuildContext:
        """Return what plans and builds the project's recipes."""
        from ovrecipe.build.context import BuildContext

        return BuildContext(
            self.project, plugin_options=self.plugin_options, force=force, jobs=jobs
        )


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
    from ovrecipe.build.run import Target

    found: dict[Target, None] = {}
    for word in words:
        name, variant = split_target(word)
        recipe = context.plan(name).recipe
        if variant is not None:
            check_variant(recipe, variant)
        for wanted in recipe.default_variants() if variant is None else (variant,):
            found[Target(name, wanted)] = None
    return tuple(found)


def state_of(context: BuildContext, plan: RecipePlan, variant: str) -> State:
    """Return whether a variant's view leads to what its recipe asks for now."""
    from ovrecipe.build.execute import ViewWork
    from ovrecipe.store.views import view_target

    if view_target(context.project.models_dir, plan.recipe.name, variant) is None:
        return "not built"
    built = ViewWork(plan, variant).is_up_to_date()
    return "built" if built else "stale"
