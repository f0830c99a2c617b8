"""The `ovrecipe` command: names its subcommands, imports only the one that is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ovrecipe import __version__
from ovrecipe.cli.failures import exit_code_of
from ovrecipe.cli.session import Session

#: Commands in the order in which a user meets them; each is a module of this package whose
#: function `command` is the typer callback.
COMMANDS = (
    "list", "show", "validate", "new", "init", "schema",
    "build", "why", "sizes", "verify", "gc",
    "run", "chat", "devices", "plugins",
)  # fmt: skip


class LazyCommands(TyperGroup):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"ovrecipe.cli.{cmd_name}_command")
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(module.command)
        return typer.main.get_command(single)


ProjectOption = Annotated[
    Path | None, typer.Option("--project", help="Folder with recipes/ (default: searched upwards).")
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("-p", "--plugin", help="Load a plugin file or module; 'no:NAME' skips one."),
]


def root(
    ctx: typer.Context,
    project: ProjectOption = None,
    plugin: PluginOption = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Turn a language model into a checked, fast OpenVINO model, and run it."""
    if version:
        typer.echo(f"ovrecipe {__version__}")
        raise typer.Exit
    env = dict(os.environ)
    if project is not None:
        env["OVRECIPE_PROJECT"] = str(project)
    ctx.obj = Session(env=env, cwd=Path.cwd(), plugin_options=tuple(plugin or ()))


def application() -> Any:
    """Return the click command behind `ovrecipe`."""
    app = typer.Typer(cls=LazyCommands, name="ovrecipe", no_args_is_help=True, add_completion=False)

    app.callback()(root)

    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and leave with the exit code of what happened."""
    sys.exit(exit_code_of(application()))
