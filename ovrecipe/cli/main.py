"""The `ovrecipe` command: names its subcommands, imports only the one that is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from traceback import print_exception
from typing import Annotated, Any, cast

import typer
from click.exceptions import Abort, ClickException, Exit
from click.utils import PacifyFlushWrapper
from typer import Option
from typer.core import TyperCommand, TyperGroup

from ovrecipe.cli.completion import heal_bash
from ovrecipe.cli.session import Session
from ovrecipe.ending import INTERRUPTED, READER_LEFT, lost_output, require_streams
from ovrecipe.errors import OvrecipeError, PluginError
from ovrecipe.version import __version__
from ovrecipe.wording import perhaps


def exit_code_of(command: Any) -> int:
    """Run a click command and return its exit code; our own errors are shown without traceback."""
    try:
        return int(command(standalone_mode=True) or 0)
    except OvrecipeError as error:
        for text in (str(error), *getattr(error, "__notes__", ())):
            print(f"ovrecipe: {text}", file=sys.stderr)
        return error.exit_code
    except SystemExit as left:
        # Nobody reads standard output: click wraps it then, rich leaves its error as context.
        wrapped = isinstance(sys.stdout, cast("type[object]", PacifyFlushWrapper))
        if left.code == 1 and (wrapped or isinstance(left.__context__, BrokenPipeError)):
            return READER_LEFT
        raise
    except OSError as error:
        return lost_output(error)
    except KeyboardInterrupt:
        print("ovrecipe: interrupted", file=sys.stderr)
        return INTERRUPTED


class LazyCommand(TyperCommand):
    """Stands for a command until it is called: its own help would need an import."""

    def __init__(self, name: str, load: Callable[[], Any], short_help: str, **more: Any) -> None:
        super().__init__(name, short_help=short_help, **more)
        self._load = load

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Import the command and go on as that command, or as that group of commands."""
        loaded = self._load()
        if isinstance(loaded, typer.Typer):
            return typer.main.get_command(loaded).make_context(*args, **kwargs)
        single = typer.Typer(add_completion=False)
        single.command(self.name)(loaded)
        return typer.main.get_command(single).make_context(*args, **kwargs)


#: Commands in the order in which a user meets them: where the callback is, and what it is for.
COMMANDS = {
    "get": ("new_commands:get", "Write a recipe for a model, build it and let it answer."),
    "new": ("new_commands:new", "Write a recipe for a model, with INT4 values that suit it."),
    "adopt": ("adopt_command:command", "Write the recipe of an OpenVINO folder that is there."),
    "init": ("new_commands:init", "Start a project with a first recipe."),
    "list": ("recipe_commands:list_recipes", "List recipes, their variants and what is built."),
    "show": ("recipe_commands:show", "Show every value of a recipe, and where it comes from."),
    "validate": ("recipe_commands:validate", "Check recipes and that plugins provide the rest."),
    "schema": ("recipe_commands:schema", "Print the JSON schema of a recipe, for editors."),
    "build": ("build_commands:build", "Build what is missing, only once, and check it."),
    "why": ("build_commands:why", "Say which stages would run, and why."),
    "tune": ("tune_commands:tune", "Find the best settings within limits, and write them."),
    "sweep": ("tune_commands:sweep", "Measure every combination of listed settings."),
    "sizes": ("build_commands:sizes", "Compare the sizes of a recipe's built variants."),
    "evaluate": ("evaluate_command:command", "Compare built variants with their source."),
    "report": ("report_command:command", "Write a page about a recipe's variants, to send on."),
    "run": ("run_command:command", "Answer one prompt, streamed to stdout as it comes."),
    "embed": ("vector_commands:embed", "Embed texts: a line in, a JSON line out."),
    "rerank": ("vector_commands:rerank", "Score how well texts answer a query."),
    "chat": ("chat_command:command", "Talk with a model that remembers what was said."),
    "batch": ("batch_command:command", "Answer a file of prompts, many at once, in order."),
    "export": (
        "export_command:command",
        "Write a built variant as files that are opened anywhere.",
    ),
    "push": ("remote_commands:push", "Send what is built to a store elsewhere."),
    "pull": ("remote_commands:pull", "Take what is built from a store elsewhere."),
    "bench": ("bench_command:command", "Measure speed and memory of variants, in turns."),
    "models": ("models_command:command", "List architectures, and how each was tried."),
    "devices": ("run_command:devices", "List the devices that OpenVINO sees here."),
    "verify": ("store_commands:verify", "Compare the bytes of what is built with what was built."),
    "rm": ("store_commands:rm", "Remove a built variant, or all of a recipe."),
    "gc": ("store_commands:gc", "Remove what neither a view nor a recipe needs."),
    "toolchain": ("toolchain_commands:application", "Make environments that exporters need."),
    "plugins": ("plugins_command:command", "List plugins, and why one does not load."),
    "new-plugin": ("plugin_scaffold:command", "Write a plugin as a distribution, with tests."),
}


class LazyCommands(TyperGroup):
    """Imports a command's module when it is called; plugins cannot replace built-in commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the built-in names in the order of COMMANDS, then those of plugins."""
        return [*COMMANDS, *(name for name in _of_plugins(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return what stands for a command, or None."""
        if cmd_name not in COMMANDS:
            return _of_plugins(ctx).get(cmd_name)
        place, short_help = COMMANDS[cmd_name]
        load = EntryPoint(cmd_name, f"ovrecipe.cli.{place}", "").load
        return LazyCommand(cmd_name, load, short_help)

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Return the command that is called, or fail with the closest name."""
        known = self.get_command(ctx, args[0]) or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:
            from ovrecipe.hooks.plugins import load_plugins

            install = load_plugins(env=os.environ).install_hint("command", args[0])
            close = perhaps(args[0], self.list_commands(ctx))
            hint = f"; it comes with a plugin: {install}" if install else close
            ctx.fail(f"No such command {args[0]!r}{hint}")
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
    """Return the commands of plugins that are not skipped; metadata is read, once a call."""
    if __name__ not in ctx.meta:
        from ovrecipe.hooks.plugins import Plugins

        plugins = Plugins(env=os.environ, options=ctx.params.get("plugin") or ())

        def blamed(name: str) -> Any:
            provided = plugins.provider("command", name)
            return provided.blamed(ClickException, Exit, Abort, SystemExit)(provided.provider)

        def standing_in(name: str) -> LazyCommand:
            origin = " and ".join(claim.where for claim in plugins.claims("command", name))
            panel = {"rich_help_panel": "Commands of plugins"}
            return LazyCommand(name, partial(blamed, name), origin, **panel)

        names = sorted(plugins.names("command"))
        ctx.meta[__name__] = {name: standing_in(name) for name in names}
    return cast("dict[str, Any]", ctx.meta[__name__])


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ovrecipe {__version__}")
        raise typer.Exit


TRACEBACK = "OVRECIPE_TRACEBACK"
EPILOG = """Exit codes: 1 an error of ovrecipe, 2 wrong words, 3 recipe, 4 plugin, 5 checkpoint, 6
refused before it began, 7 stage, 8 gate, 9 store, 10 not built, 11 run, 12 project, 13 toolchain,
130 Ctrl-C, 141 nobody reads the output."""


def root(
    ctx: typer.Context,
    project: Annotated[
        Path | None, Option(help="Folder with recipes/ (default: searched upwards).")
    ] = None,
    plugin: Annotated[
        list[str] | None,
        Option("-p", "--plugin", help="Load a plugin file or module; 'no:NAME' skips one."),
    ] = None,
    traceback: Annotated[
        bool, Option("--traceback", envvar=TRACEBACK, help="Show where an error arose.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - typer calls back and ends the program
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn a language model into a checked, fast OpenVINO model, and run it.

    Example: ovrecipe init mine && cd mine && ovrecipe build smollm2-135m
    """
    env = dict(os.environ)
    if project is not None:
        env["OVRECIPE_PROJECT"] = str(project)
    if traceback:
        env[TRACEBACK] = "1"
    for option in plugin or ():
        _check_plugin_option(option, env)
    ctx.obj = Session(env=env, cwd=Path.cwd(), plugin_options=tuple(plugin or ()))


def _check_plugin_option(option: str, env: Mapping[str, str]) -> None:
    """Refuse what names nothing, also for commands that would never ask for it."""
    if option.endswith(".py") and not Path(option).is_file():
        raise PluginError(f"-p {option}: no such file")
    skipped = option.removeprefix("no:")
    if skipped == option or skipped in ("builtin", "all", "*"):
        return
    from ovrecipe.hooks.plugins import canonical, load_plugins

    sources = load_plugins(env=env).installed
    names = {name for source in sources for name in (source.name, source.distribution) if name}
    if not canonical([skipped]) & canonical(names):
        problem = f"-p {option}: no plugin is called {skipped!r}{perhaps(skipped, names)}"
        raise PluginError(problem, remedy="'ovrecipe plugins' lists them")


def application() -> Any:
    """Return the click command behind `ovrecipe`."""
    app = typer.Typer(
        cls=LazyCommands,
        name="ovrecipe",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(epilog=EPILOG)(root)
    command = typer.main.get_command(app)
    heal_bash()
    return command


def main() -> None:
    """Run the command line and leave with the exit code of what happened."""
    require_streams()
    sys.exit(exit_code_of(application()))
