"""What a command works with: project, plugins, defaults; what `NAME:VARIANT` means there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.errors import ProjectError
from ovrecipe.recipe.defaults import Defaults, read_defaults
from ovrecipe.recipe.project import Project, find_project, named_by, recipe_names

if TYPE_CHECKING:
    import typer

    from ovrecipe.build.context import BuildContext, RecipePlan
    from ovrecipe.build.run import Target
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

    @cached_property
    def defaults(self) -> Defaults:
        """What counts where the command line names no model and no device.

        An export runs where there is no project too.
        """
        try:
            folder = self.project.root
        except ProjectError:
            folder = self.cwd
        return read_defaults(self.env, folder)

    def recipe_names(self) -> list[str]:
        """Return the names of the project's recipes."""
        return recipe_names(self.project)

    def recipe(self, name: str) -> Recipe:
        """Return the validated recipe of that name."""
        from ovrecipe.recipe.load import load_recipe

        return load_recipe(self.project, name)

    def build_context(
        self, *, force: bool = False, jobs: int = 2, keep_going: bool = False
    ) -> BuildContext:
        """Return what plans and builds the project's recipes."""
        from ovrecipe.build.context import BuildContext

        return BuildContext(
            self.project,
            plugin_options=self.plugin_options,
            force=force,
            jobs=jobs,
            keep_going=keep_going,
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

    found: list[Target] = []
    for word in words:
        recipe, variant = named_by(word, context.recipe)
        variants = recipe.default_variants() if variant is None else [variant]
        found += [Target(recipe.name, wanted) for wanted in variants]
    return tuple(dict.fromkeys(found))


def state_of(context: BuildContext, plan: RecipePlan, variant: str) -> dict[str, bool]:
    """Return whether a variant is `built`, `stale` (from other settings than of now), `refused`."""
    from ovrecipe.build.execute import ViewWork
    from ovrecipe.store.views import REFUSED, view_target

    there = view_target(context.project.models_dir, plan.recipe.name, variant) is not None
    view = ViewWork(plan, variant)
    built = there and view.is_up_to_date()
    refused_dir = context.project.models_dir / REFUSED
    left = not built and view_target(refused_dir, plan.recipe.name, variant) is not None
    refused = left and view.is_refused()
    return {"built": built, "stale": there and not built and not refused, "refused": refused}
