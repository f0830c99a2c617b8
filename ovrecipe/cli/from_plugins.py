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
    commands: dict[str, PluginCommand] = {}
    for source in load_plugins(env=env, options=skips).commands:
        commands.setdefault(source.name, PluginCommand(source.name)).sources.append(source)
    return {name: commands[name] for name in sorted(commands)}


class PluginCommand(TyperCommand):
    """Stands for a command of a plugin until it is called."""

    def __init__(self, name: str) -> None:
        super().__init__(name, rich_help_panel=PANEL)
        self.sources: list[PluginSource] = []

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return who brings the command; its own help would need an import."""
        return self._origin()[:limit]

    def _origin(self) -> str:
        return " and ".join(f"{each.distribution} {each.version}" for each in self.sources)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Import the command and go on as that command."""
        single = typer.Typer(add_completion=False)
        single.command(self.name)(self._callback())
        return typer.main.get_command(single).make_context(*args, **kwargs)

    def _callback(self) -> Any:
        from ovrecipe.hooks.loading import load_object

        if len(self.sources) > 1:
            raise PluginError(
                f"the command {self.name!r} is claimed by {self._origin()}",
                remedy=f"skip one with -p no:{self.sources[-1].distribution}, or uninstall it",
            )
        return load_object(self.sources[0], f"command {self.name!r}")
