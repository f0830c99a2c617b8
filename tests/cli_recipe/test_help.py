"""What `--help` teaches, and the options that every command has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from ovrecipe import errors
from ovrecipe.cli.main import COMMANDS, application
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from tests.conftest import CommandLine

#: Commands that can be asked for one JSON document, and those for which it would say nothing.
WITH_JSON = {"list", "show", "validate", "build", "why", "sizes", "run", "devices", "verify", "rm",
             "gc", "plugins", "models", "evaluate", "adopt", "batch", "bench", "tune", "sweep",
             "export", "push", "pull"}  # fmt: skip


def positionals(name: str) -> list[typer.core.TyperArgument]:
    """Return the arguments of a command that are no options."""
    group = application()
    with typer.Context(group) as ctx:
        command = (
            group.get_command(ctx, name).make_context(name, [], resilient_parsing=True).command
        )
    return [param for param in command.params if param.param_type_name == "argument"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_explains_every_argument(project: Path, ovrecipe: CommandLine, name: str) -> None:
    """Typer below 0.26 drops their help with click 8.5, and a command forgets it easily."""
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", ovrecipe(name, "--help").out).split())
    for argument in positionals(name):
        assert argument.help
        assert " ".join(argument.help.split()) in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example(project: Path, ovrecipe: CommandLine, name: str) -> None:
    """A sentence of what, then something to type."""
    done = ovrecipe(name, "--help")
    assert done.code == 0
    assert re.search(rf"Examples?: .*ovrecipe {name}\b", " ".join(done.out.split()))


@pytest.mark.parametrize("name", COMMANDS)
def test_what_programs_want_to_read_comes_as_json(
    project: Path, ovrecipe: CommandLine, name: str
) -> None:
    """The others make files or talk."""
    assert ("--json" in ovrecipe(name, "--help").out) == (name in WITH_JSON)


def test_the_help_names_every_exit_code(project: Path, ovrecipe: CommandLine) -> None:
    """Scripts branch on them."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.OvrecipeError)}
    epilog = " ".join(ovrecipe("--help").out.split()).split("Exit codes: ")[1]
    assert {int(code) for code in re.findall(r"\b\d+\b", epilog)} == codes | {2, 130, 141}


@pytest.mark.parametrize("how", ["option", "environment"])
def test_authors_of_plugins_get_the_traceback(
    project: Path,
    ovrecipe: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """The message alone says nothing of the line that raised it; users are spared."""
    assert "Traceback" not in ovrecipe("show", "nobody").err
    if how == "environment":
        monkeypatch.setenv("OVRECIPE_TRACEBACK", "1")
    words = ["--traceback"] if how == "option" else []
    done = ovrecipe(*words, "show", "nobody", may_trace=True)
    assert done.code == 3
    assert done.err.startswith("Traceback (most recent call last)")
    assert "in recipe_path" in done.err
    assert "\novrecipe: no recipe 'nobody' in recipes/" in done.err


def test_a_misspelt_plugin_cannot_be_skipped(project: Path, ovrecipe: CommandLine) -> None:
    """Nothing would be skipped, and nobody would notice."""
    done = ovrecipe("-p", "no:nosuchplugin", "list")
    assert done.code == 4
    assert "-p no:nosuchplugin: no plugin is called 'nosuchplugin'" in done.err
    assert "'ovrecipe plugins' lists them" in done.err
    assert ovrecipe("-p", "no:all", "list").code == 0


def test_each_name_leads_to_a_function_of_the_package() -> None:
    """They are imported by name, when one is called."""
    group = application()
    with typer.Context(group) as ctx:
        for name in COMMANDS:
            command = group.get_command(ctx, name)
            called = command.make_context(name, [], parent=ctx, resilient_parsing=True)
            assert (command.name, called.command.name) == (name, name)
            assert called.command.callback.__module__.startswith("ovrecipe.cli.")


def test_the_readme_names_every_command_and_no_other() -> None:
    """A command that it does not name is found by nobody."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    table = text.split("## Commands\n")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    named = re.findall(r"`(?:ovrecipe )?([a-z-]+)[^`]*`", " ".join(rows))
    assert sorted(named) == sorted(COMMANDS)
    assert {*re.findall(r"`ovrecipe ([a-z][a-z-]*)", text)} <= {*COMMANDS, "serve", "web"}


def test_the_manual_lists_every_exit_code() -> None:
    """With what each means."""
    page = (REPOSITORY / "docs" / "running.md").read_text("utf-8")
    listed = re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.OvrecipeError)}
    assert sorted(map(int, listed)) == sorted(codes | {0, 2, 130, 141})
