"""The command line with plugins installed, each call a process as a user makes it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe.hooks.loading import installed_entry_points
from tests.conftest import CommandLine
from tests.hooks.installed import COMPRESSOR, Site, compressor_code

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import Outcome

    Command = Callable[..., Outcome]

COMMAND = """
import typer
from ovrecipe.cli.session import session_of

def command(ctx: typer.Context, word: str, loud: bool = False):
    "Say a word."
    print(word.upper() if loud else word, session_of(ctx).project.root.name)
"""
#: Plugins that this environment has anyway.
INSTALLED = {point.dist.name for point in installed_entry_points() if point.dist is not None}
SAY = "[ovrecipe.command]\nsay = MODULE:command"


@pytest.fixture
def ovrecipe(ovrecipe: CommandLine, site: Site) -> Callable[..., Outcome]:
    """The command as a process in which the plugins of the site are installed."""

    def run(*words: str, env: dict[str, str] | None = None) -> Outcome:
        return ovrecipe.process(*words, cwd=site.root.parent, env={**site.env, **(env or {})})

    return run


def facts_of(done: Outcome) -> dict[str, Any]:
    """Return what is listed, but for plugins that this environment has anyway."""
    assert done.code == 0, done.err
    listed = json.loads(done.out)["plugins"]
    return {row["name"]: row for row in listed if row["distribution"] not in INSTALLED}


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["list"], ["plugins", "--help"]])
@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "raise SystemExit('no')"])
def test_a_slow_or_broken_plugin_is_not_touched_by_other_commands(
    ovrecipe: Command, site: Site, tmp_path: Path, command: list[str], code: str
) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("bad", code, points="[ovrecipe]\nbad = MODULE\n" + SAY)
    done = ovrecipe(*command)
    assert done.code == 0, done.err
    assert site.imported == []


def test_help_names_the_commands_of_plugins_and_who_brings_them(
    ovrecipe: Command, site: Site
) -> None:
    site.install("talk", COMMAND, version="0.3", points=SAY)
    done = ovrecipe("--help")
    assert "Commands of plugins" in done.out
    assert "ovrecipe-talk 0.3" in done.out


def test_a_command_of_a_plugin_runs_with_the_session(
    ovrecipe: Command, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, points=SAY)
    done = ovrecipe("say", "hello", "--loud")
    assert (done.out, done.code) == (f"HELLO {tmp_path.name}\n", 0), done.err
    assert "Say a word." in ovrecipe("say", "-h").out


def test_a_command_that_does_not_load_says_whose_it_is(ovrecipe: Command, site: Site) -> None:
    site.install("talk", "import no_such_module_at_all", points=SAY)
    done = ovrecipe("say", "x")
    assert done.code == 4
    assert "plugin 'say' (ovrecipe-talk 1.0) failed to load: ModuleNotFound" in done.err


def test_a_command_that_two_plugins_claim_runs_neither(ovrecipe: Command, site: Site) -> None:
    for name in ("one", "two"):
        site.install(name, COMMAND, points=SAY)
    done = ovrecipe("say", "x")
    assert done.code == 4
    assert "the command 'say' is claimed by plugin 'say' (ovrecipe-one 1.0) and" in done.err
    assert "-p no:ovrecipe-two" in done.err
    assert site.imported == []


def test_a_command_of_a_file_runs_too(ovrecipe: Command, site: Site, tmp_path: Path) -> None:
    """An author tries it before it is a distribution."""
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "talk.py"
    path.write_text(
        COMMAND + "from ovrecipe import hookimpl\n@hookimpl\n"
        "def providers(): return {'command': {'say': command}}\n"
    )
    done = ovrecipe("-p", str(path), "say", "hello")
    assert done.out == f"hello {tmp_path.name}\n", done.err
    assert "Say a word." in ovrecipe("-p", str(path), "say", "-h").out
    assert site.imported == []


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("raise KeyError('deep')", 4, "'say' of plugin 'say' (ovrecipe-talk 1.0) raised KeyError"),
        ("raise typer.Exit(3)", 3, ""),
        ("raise SystemExit(5)", 5, ""),
        ("raise typer.BadParameter('no such word')", 2, "no such word"),
    ],
)
def test_what_a_command_raises_by_mistake_is_blamed_on_its_plugin(
    ovrecipe: Command, site: Site, body: str, code: int, told: str
) -> None:
    """Its own ways to end are its own; a traceback would look like ours."""
    site.install("talk", f"import typer\ndef command():\n    {body}\n", points=SAY)
    done = ovrecipe("say")
    assert (done.code, told in done.err) == (code, True), done.err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_author_is_shown_the_traceback(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, site: Site, how: str
) -> None:
    """Which line of the plugin it was, and still whose plugin it is."""
    site.install("talk", "def command():\n    raise KeyError('deep')\n", points=SAY)
    monkeypatch.syspath_prepend(site.root)
    options = ["--traceback"] if how == "option" else []
    env = {"OVRECIPE_TRACEBACK": "1"} if how == "variable" else {}
    done = CommandLine(request)(*options, "say", env=env, may_trace=True)
    assert done.code == 4
    assert "KeyError: 'deep'" in done.err
    assert ", line 3, in command" in done.err
    assert done.err.rstrip().endswith("tell its maintainers, or use another")


def test_what_plugins_print_at_import_does_not_spoil_json(ovrecipe: Command, site: Site) -> None:
    """A program reads it."""
    site.install("loud", "print('hello')" + COMPRESSOR)
    done = ovrecipe("plugins", "--json")
    assert json.loads(done.out)["plugins"]
    assert "hello" in done.err


def test_a_skipped_plugin_has_no_command(ovrecipe: Command, site: Site) -> None:
    site.install(
        "talk",
        COMMAND,
        points=SAY.replace("say", "list-words") + "\n[ovrecipe]\ntalk = MODULE",
    )
    done = ovrecipe("-p", "no:talk", "list-words")
    assert done.code == 2
    assert "No such command 'list-words'" in done.err


def test_a_misspelt_plugin_to_skip_is_refused_with_the_closest(
    ovrecipe: Command, site: Site, tmp_path: Path
) -> None:
    """Nothing would be skipped, and nobody would notice."""
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, points=SAY + "\n[ovrecipe]\ntalk = MODULE")
    done = ovrecipe("-p", "no:tolk", "list")
    assert done.code == 4
    assert "no plugin is called 'tolk'; perhaps you meant 'talk'" in done.err
    for name in ("talk", "ovrecipe-talk", "Ovrecipe_Talk"):
        assert ovrecipe("-p", f"no:{name}", "list").code == 0
    assert site.imported == []


def test_a_misspelt_command_suggests_the_closest(ovrecipe: Command, site: Site) -> None:
    assert "perhaps you meant 'plugins'" in ovrecipe("plugin").err


@pytest.mark.skipif("ovrecipe-gradio" in INSTALLED, reason="the command is here")
def test_a_first_party_command_that_is_missing_says_how_to_install_it(
    ovrecipe: Command, site: Site
) -> None:
    done = ovrecipe("web", "smollm2-135m")
    assert done.code == 2
    assert "pip install ovrecipe-gradio" in done.err


def test_the_list_says_what_each_plugin_is_and_what_is_wrong(ovrecipe: Command, site: Site) -> None:
    watch = "from ovrecipe import hookimpl\n@hookimpl\ndef after_stage(stage): ...\n"
    points = "[ovrecipe]\nwatch = MODULE\n[ovrecipe.compressor]\nawq = MODULE:Compressor\n"
    site.install("awq", COMPRESSOR + watch, version="0.2", points=points)
    site.install("bad", "import nothing_like_that")
    site.install("off")
    site.install("talk", COMMAND, points=SAY)
    facts = facts_of(ovrecipe("plugins", "--json", env={"OVRECIPE_DISABLED_PLUGINS": "off"}))
    assert set(facts) == {
        "builtin",
        "ovrecipe-awq",
        "ovrecipe-bad",
        "ovrecipe-off",
        "ovrecipe-talk",
    }
    awq = facts["ovrecipe-awq"]
    assert awq["providers"] == {"compressor": ["awq"]}
    assert awq["hooks"] == ["after_stage"]
    assert (awq["distribution"], awq["version"]) == ("ovrecipe-awq", "0.2")
    assert awq["import_ms"] >= 0
    assert facts["ovrecipe-bad"]["status"] == "failed"
    assert facts["ovrecipe-bad"]["reason"].startswith("ModuleNotFoundError")
    assert "import nothing_like_that" in facts["ovrecipe-bad"]["details"]
    assert facts["ovrecipe-off"]["status"] == "skipped"
    assert facts["ovrecipe-talk"]["providers"] == {"command": ["say"]}


def test_the_table_tells_the_same(ovrecipe: Command, site: Site) -> None:
    site.install("awq", version="0.2")
    site.install("bad", "import nothing_like_that")
    site.install("off")
    done = ovrecipe("-p", "no:off", "plugins")
    assert done.code == 0
    assert "plugin 'bad' (ovrecipe-bad 1.0) failed to load: ModuleNotFoundError" in done.out
    assert "-p no:ovrecipe-bad" in done.out
    assert "ovrecipe-off is skipped: skipped by" in done.out
    assert re.search(r"ovrecipe-awq +0\.2 +loaded in \d+ ms +compressor: awq", done.out)


def test_the_list_can_be_narrowed_to_a_role_or_hook(ovrecipe: Command, site: Site) -> None:
    site.install("awq")
    site.install_hooks("more", compressor_code("more"))
    site.install("talk", COMMAND, points=SAY)
    found = facts_of(ovrecipe("plugins", "--json", "--hook", "compressor"))
    assert set(found) == {"builtin", "ovrecipe-awq", "ovrecipe-more"}
    found = facts_of(ovrecipe("plugins", "--json", "--hook", "providers"))
    assert set(found) == {"ovrecipe-more"}
    done = ovrecipe("plugins", "--hook", "compresor")
    assert done.code == 2
    assert "perhaps you meant 'compressor'" in done.said


@pytest.mark.parametrize(
    ("name", "code", "points", "trouble"),
    [
        ("bad", "raise ValueError('x')", None, "ValueError: x"),
        (
            "odd",
            COMPRESSOR.replace("version = 3", "version = 'x'"),
            None,
            "version: must be a whole number",
        ),
        ("fp16", COMPRESSOR, None, "the compressor 'fp16' is built in; rename it"),
        ("run", COMMAND, "[ovrecipe.command]\nrun = MODULE:command", "'run' is built in"),
        (
            "typo",
            COMPRESSOR,
            "[ovrecipe.compresor]\ntypo = MODULE:Compressor",
            "a group that there is not; perhaps you meant 'ovrecipe.compressor'",
        ),
        ("word", "command = 5", "[ovrecipe.command]\nsay = MODULE:command", "5 cannot be called"),
    ],
)
def test_check_ends_with_4_when_a_plugin_is_wrong(
    ovrecipe: Command, site: Site, name: str, code: str, points: str | None, trouble: str
) -> None:
    site.install(name, code, points=points)
    done = ovrecipe("plugins", "--check")
    assert done.code == 4
    assert trouble in done.out
    assert f"ovrecipe-{name}" in done.out


def test_check_finds_names_that_two_plugins_have(ovrecipe: Command, site: Site) -> None:
    points = "[ovrecipe.compressor]\nsame = MODULE:Compressor"
    site.install("one", points=points)
    site.install_hooks("two", compressor_code("same"))
    done = ovrecipe("plugins", "--check")
    assert done.code == 4
    assert "the compressor 'same' is also of ovrecipe-one 1.0" in done.out
    assert "the compressor 'same' is also of ovrecipe-two 1.0" in done.out


def test_check_is_content_with_what_is_built_in(ovrecipe: Command, site: Site) -> None:
    done = ovrecipe("plugins", "--check")
    assert done.code == 0, done.out
