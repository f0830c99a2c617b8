"""What the root options decided, made once per call and handed to commands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ovrecipe.recipe.project import Project, find_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import typer

    from ovrecipe.hooks.manager import Plugins
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
        from ovrecipe.hooks.manager import load_plugins

        return load_plugins(env=self.env, options=self.plugin_options)

    def recipe(self, name: str) -> Recipe:
        """Return the validated recipe of that name."""
        from ovrecipe.recipe.load import load_recipe

        return load_recipe(self.project, name)


def session_of(ctx: typer.Context) -> Session:
    """Return the session that the root command made."""
    found = ctx.find_object(Session)
    assert found is not None, "the root callback runs before every command"
    return found
