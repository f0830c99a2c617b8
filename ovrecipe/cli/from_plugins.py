"""Commands that distributions announce; imported when one is called, never to be listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from ovrecipe.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovrecipe.hooks.loading import PluginSource

PANEL = "Commands of plugins"


def announced(env: Mapping[str, str], options: Sequence[str]) -> dict[str, TyperCommand]:
    """Return the commands of plugins that are not skipped, by name; reads metadata only."""
    from ovrecipe.hooks.manager import load_plugins

    skips = [each for each in options if each.startswith("no:")]
    found = load_plugins(env=env, options=skips).commands
    names = sorted({each.name for each in found})
    return {
        name: PluginCommand(name, [each for each in found if each.name == name]) for name in names
    }


def missing(name: str, env: Mapping[str, str]) -> str | None:
    """Return how to install a command that no plugin here brings, if that is known."""
    from ovrecipe.hooks.first_party import install_hint
    from ovrecipe.hooks.manager import load_plugins

    return install_hint("command", name, load_plugins(env=env).installed)


class PluginCommand(TyperCommand):
    """Stands for a command of a plugin until it is called.

    `ovrecipe --help` says who brings it; the command's own help would need an import.
    """

    def __init__(self, name: str, sources: Sequence[PluginSource]) -> None:
        self._sources = sources
        super().__init__(name, short_help=self._origin(), rich_help_panel=PANEL)

    def _origin(self) -> str:
        return " and ".join(f"{each.distribution} {each.version}" for each in self._sources)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Import the command and go on as that command."""
        single = typer.Typer(add_completion=False)
        single.command(self.name)(self._callback())
        return typer.main.get_command(single).make_context(*args, **kwargs)

    def _callback(self) -> Any:
        from ovrecipe.hooks.loading import load_object

        if len(self._sources) > 1:
            raise PluginError(
                f"the command {self.name!r} is claimed by {self._origin()}",
                remedy=f"skip one with -p no:{self._sources[-1].distribution}, or uninstall it",
            )
        return load_object(self._sources[0], f"command {self.name!r}")
