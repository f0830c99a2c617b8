"""The `ovrecipe` command: names its subcommands, imports only the one that is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from ovrecipe.cli.failures import exit_code_of

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


def application() -> Any:
    """Return the click command behind `ovrecipe`."""
    app = typer.Typer(cls=LazyCommands, name="ovrecipe", no_args_is_help=True)

    @app.callback()
    def _root() -> None:
        """Turn a language model into a checked, fast OpenVINO model, and run it."""

    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and leave with the exit code of what happened."""
    sys.exit(exit_code_of(application()))
