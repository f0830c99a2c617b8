"""The `ovrecipe` command: names its subcommands, imports only the one that is called."""

from __future__ import annotations

import errno
import os
import sys
from difflib import get_close_matches
from functools import wraps
from importlib import import_module
from pathlib import Path
from traceback import print_exception
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from click.exceptions import Abort, ClickException, Exit
from click.utils import PacifyFlushWrapper
from typer.core import TyperCommand, TyperGroup

from ovrecipe.cli.session import Session
from ovrecipe.errors import DiskFull, OvrecipeError, PluginError
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided


INTERRUPTED = 130
#: What a shell shows for a program that SIGPIPE ended; click ends with 1 and wraps the stream.
READER_LEFT = 141


def exit_code_of(command: Any) -> int:
    """Run a click command and return its exit code; our own errors are shown without traceback."""
    try:
        return int(command(standalone_mode=True) or 0)
    except OvrecipeError as error:
        for each in (str(error), *getattr(error, "__notes__", ())):
            print(f"ovrecipe: {each}", file=sys.stderr)
        return error.exit_code
    except SystemExit as left:
        if left.code == 1 and _reader_left(left):
            return READER_LEFT
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        return _output_is_full()
    except KeyboardInterrupt:
        print("ovrecipe: interrupted", file=sys.stderr)
        return INTERRUPTED


def _reader_left(left: SystemExit) -> bool:
    """Return whether click or rich ended the program because nobody reads standard output."""
    wrapped = isinstance(sys.stdout, cast("type[object]", PacifyFlushWrapper))
    return wrapped or isinstance(left.__context__, BrokenPipeError)


def _output_is_full() -> int:
    """Say that standard output is full, and keep Python from saying it again at its end."""
    print("ovrecipe: standard output: no space left on device", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return DiskFull.exit_code


PANEL = "Commands of plugins"


def announced(env: Mapping[str, str], options: Sequence[str]) -> dict[str, TyperCommand]:
    """Return the commands of plugins that are not skipped, by name.

    Installed plugins are not imported, their metadata is read; those of `-p` are.
    """
    from ovrecipe.hooks.plugins import Plugins

    plugins = Plugins(env=env, options=options)
    return {name: PluginCommand(name, plugins) for name in sorted({*plugins.names("command")})}


def missing(name: str, env: Mapping[str, str]) -> str | None:
    """Return how to install a command that no plugin here brings, if that is known."""
    from ovrecipe.hooks.plugins import load_plugins

    return load_plugins(env=env).install_hint("command", name)


class PluginCommand(TyperCommand):
    """Stands for a command of a plugin until it is called.

    `ovrecipe --help` says who brings it; the command's own help would need an import.
    """

    def __init__(self, name: str, plugins: Plugins) -> None:
        self._plugins = plugins
        claims = plugins.claims("command", name)
        origin = " and ".join(claim.where for claim in claims)
        super().__init__(name, short_help=origin, rich_help_panel=PANEL)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Import the command and go on as that command."""
        provided = self._plugins.command(str(self.name))
        single = typer.Typer(add_completion=False)
        single.command(self.name)(blamed_callback(provided))
        return typer.main.get_command(single).make_context(*args, **kwargs)


def blamed_callback(provided: Provided[Any]) -> Any:
    """Return a command of a plugin so that what it raises by mistake names the plugin."""

    @wraps(provided.provider)
    def command(*args: Any, **kwargs: Any) -> Any:
        with provided.blamed(ClickException, Exit, Abort, SystemExit):
            return provided.provider(*args, **kwargs)

    return command


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

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that is called; authors of plugins ask for the traceback of an error."""
        try:
            return super().invoke(ctx)
        except OvrecipeError as error:
            if ctx.params.get("traceback"):
                print_exception(error)
            raise


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


TRACEBACK = "OVRECIPE_TRACEBACK"
TracebackOption = Annotated[
    bool, typer.Option("--traceback", envvar=TRACEBACK, help="Show where an error arose.")
]
VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


def root(
    ctx: typer.Context,
    project: ProjectOption = None,
    plugin: PluginOption = None,
    traceback: TracebackOption = False,
    version: VersionOption = False,  # noqa: ARG001 - typer calls back and ends the program
) -> None:
    """Turn a language model into a checked, fast OpenVINO model, and run it."""
    env = dict(os.environ)
    if project is not None:
        env["OVRECIPE_PROJECT"] = str(project)
    if traceback:
        env[TRACEBACK] = "1"
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
