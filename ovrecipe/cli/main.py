"""The `ovrecipe` command: names its subcommands, imports only the one that is called."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ovrecipe.cli.failures import exit_code_of
from ovrecipe.cli.from_plugins import announced, missing
from ovrecipe.cli.session import Session
from ovrecipe.errors import PluginError
from ovrecipe.version import __version__

#: Commands in the order in which a user meets them; each is a module of this package whose
#: function `command` is the typer callback.
COMMANDS = (
    "list", "show", "validate", "new", "init", "schema",
    "build", "why", "sizes", "verify", "gc",
    "run", "chat", "devices", "plugins", "new-plugin",
)  # fmt: skip


class LazyCommands(TyperGroup):
    """A group that imports a command's module when the command is asked for.

    Commands of plugins come after the built-in ones and cannot replace them.
    """

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the built-in names in the order of COMMANDS, then those of plugins."""
        return [*COMMANDS, *(name for name in _of_plugins(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Import and return one command; a plugin's is imported when it runs."""
        if cmd_name not in COMMANDS:
            return _of_plugins(ctx).get(cmd_name)
        module = import_module(f"ovrecipe.cli.{cmd_name.replace('-', '_')}_command")
        single = typer.Typer(add_completion=False)
        single.command(cmd_name)(module.command)
        return typer.main.get_command(single)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Return the command that is called, or fail with the closest name."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            if (install := missing(args[0], os.environ)) is not None:
                hint = f" It comes with a plugin: {install}"
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


def _of_plugins(ctx: typer.Context) -> dict[str, Any]:
    """Return the commands of plugins; looked for once a call, for all metadata is read."""
    found: dict[str, Any] | None = ctx.meta.get(__name__)
    if found is None:
        found = dict(announced(os.environ, ctx.params.get("plugin") or ()))
        ctx.meta[__name__] = found
    return found


ProjectOption = Annotated[
    Path | None, typer.Option("--project", help="Folder with recipes/ (default: searched upwards).")
]
PluginOption = Annotated[
    list[str] | None,
    typer.Option("-p", "--plugin", help="Load a plugin file or module; 'no:NAME' skips one."),
]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ovrecipe {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


def root(
    ctx: typer.Context,
    project: ProjectOption = None,
    plugin: PluginOption = None,
    version: VersionOption = False,  # noqa: ARG001 - typer calls back and ends the program
) -> None:
    """Turn a language model into a checked, fast OpenVINO model, and run it."""
    env = dict(os.environ)
    if project is not None:
        env["OVRECIPE_PROJECT"] = str(project)
    for each in plugin or ():
        _require_file(each)
    ctx.obj = Session(env=env, cwd=Path.cwd(), plugin_options=tuple(plugin or ()))


def _require_file(plugin: str) -> None:
    """Refuse a plugin file that is not there, also for commands that would never ask for it."""
    if plugin.endswith(".py") and not Path(plugin).is_file():
        raise PluginError(f"-p {plugin}: no such file")


def application() -> Any:
    """Return the click command behind `ovrecipe`."""
    app = typer.Typer(
        cls=LazyCommands,
        name="ovrecipe",
        no_args_is_help=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line and leave with the exit code of what happened."""
    sys.exit(exit_code_of(application()))
