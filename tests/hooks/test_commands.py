"""The command line with plugins installed, each call a process as a user makes it."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from tests.hooks.installed import Site, compressor_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import CommandLine, Outcome

    Command = Callable[..., Outcome]

COMMAND = """
import typer
from ovrecipe.cli.session import session_of

def command(ctx: typer.Context, word: str, loud: bool = False):
    "Say a word."
    print(word.upper() if loud else word, session_of(ctx).project.root.name)
"""
#: Plugins that this environment has anyway.
INSTALLED = {each.dist.name for each in entry_points(group="ovrecipe") if each.dist is not None}
SAY = "[ovrecipe.commands]\nsay = MODULE:command"


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
    return {each["name"]: each for each in listed if each["distribution"] not in INSTALLED}


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["list"], ["plugins", "--help"]])
@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "raise SystemExit('no')"])
def test_a_slow_or_broken_plugin_is_not_touched_by_other_commands(
    ovrecipe: Command, site: Site, tmp_path: Path, command: list[str], code: str
) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("bad", code, entry_points="[ovrecipe]\nbad = MODULE\n" + SAY)
    done = ovrecipe(*command)
    assert done.code == 0, done.err
    assert site.imported == []


def test_help_names_the_commands_of_plugins_and_who_brings_them(
    ovrecipe: Command, site: Site
) -> None:
    site.install("talk", COMMAND, version="0.3", entry_points=SAY)
    done = ovrecipe("--help")
    assert "Commands of plugins" in done.out
    assert "ovrecipe-talk 0.3" in done.out


def test_a_command_of_a_plugin_runs_with_the_session(
    ovrecipe: Command, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, entry_points=SAY)
    done = ovrecipe("say", "hello", "--loud")
    assert (done.out, done.code) == (f"HELLO {tmp_path.name}\n", 0), done.err
    assert "Say a word." in ovrecipe("say", "-h").out


def test_a_command_that_does_not_load_says_whose_it_is(ovrecipe: Command, site: Site) -> None:
    site.install("talk", "import no_such_module_at_all", entry_points=SAY)
    done = ovrecipe("say", "x")
    assert done.code == 4
    assert "command 'say' of ovrecipe-talk 1.0 failed to load: ModuleNotFound" in done.err


def test_a_command_that_two_plugins_claim_runs_neither(ovrecipe: Command, site: Site) -> None:
    for name in ("one", "two"):
        site.install(name, COMMAND, entry_points=SAY)
    done = ovrecipe("say", "x")
    assert done.code == 4
    assert "claimed by ovrecipe-one 1.0 and ovrecipe-two 1.0" in done.err
    assert site.imported == []


def test_a_skipped_plugin_has_no_command(ovrecipe: Command, site: Site) -> None:
    site.install(
        "talk",
        COMMAND,
        entry_points=SAY.replace("say", "list-words") + "\n[ovrecipe]\ntalk = MODULE",
    )
    done = ovrecipe("-p", "no:talk", "list-words")
    assert done.code == 2
    assert "No such command 'list-words'" in done.err


def test_a_misspelt_plugin_to_skip_is_refused_with_the_closest(
    ovrecipe: Command, site: Site, tmp_path: Path
) -> None:
    """Nothing would be skipped, and nobody would notice."""
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, entry_points=SAY + "\n[ovrecipe]\ntalk = MODULE")
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
    site.install("awq", compressor_code("awq"), version="0.2")
    site.install("bad", "import nothing_like_that")
    site.install("off", compressor_code("off"))
    site.install("talk", COMMAND, entry_points=SAY)
    facts = facts_of(ovrecipe("plugins", "--json", env={"OVRECIPE_DISABLED_PLUGINS": "off"}))
    assert set(facts) == {"builtin", "awq", "bad", "off", "say"}
    assert facts["awq"]["providers"] == {"compressor": ["awq"]}
    assert facts["awq"]["hooks"] == ["provider_names", "get_compressor"]
    assert facts["awq"]["distribution"] == "ovrecipe-awq"
    assert facts["awq"]["version"] == "0.2"
    assert facts["awq"]["import_ms"] >= 0
    assert facts["bad"]["status"] == "failed"
    assert facts["bad"]["reason"].startswith("ModuleNotFoundError")
    assert facts["off"]["status"] == "skipped"
    assert facts["say"]["commands"] == ["say"]


def test_the_table_tells_the_same(ovrecipe: Command, site: Site) -> None:
    site.install("awq", compressor_code("awq"), version="0.2")
    site.install("bad", "import nothing_like_that")
    done = ovrecipe("plugins")
    assert done.code == 0
    assert "ovrecipe-awq 0.2" in done.out
    assert "plugin 'bad' (ovrecipe-bad 1.0) failed to load: ModuleNotFoundError" in done.out
    assert "-p no:bad" in done.out


def test_the_list_can_be_narrowed_to_a_hook(ovrecipe: Command, site: Site) -> None:
    site.install("awq", compressor_code("awq"))
    assert set(facts_of(ovrecipe("plugins", "--json", "--hook", "compressor"))) == {
        "builtin",
        "awq",
    }
    assert set(facts_of(ovrecipe("plugins", "--json", "--hook", "get_source"))) == {"builtin"}
    done = ovrecipe("plugins", "--hook", "get_sorce")
    assert done.code == 2
    assert "perhaps you meant 'get_source'" in done.said


@pytest.mark.parametrize(
    ("name", "code", "trouble"),
    [
        ("bad", "raise ValueError('x')", "ValueError: x"),
        ("odd", compressor_code("odd").replace("version = 3", ""), "has no attribute 'version'"),
        ("fp16", compressor_code("fp16"), "claims the compressor 'fp16'"),
    ],
)
def test_check_ends_with_4_when_a_plugin_is_wrong(
    ovrecipe: Command, site: Site, name: str, code: str, trouble: str
) -> None:
    site.install(name, code)
    done = ovrecipe("plugins", "--check")
    assert done.code == 4
    assert trouble in done.out


def test_check_finds_names_that_two_plugins_list(ovrecipe: Command, site: Site) -> None:
    site.install("one", compressor_code("same"))
    site.install("same", compressor_code("same"))
    done = ovrecipe("plugins", "--check")
    assert done.code == 4
    assert "the compressor 'same' is also of plugin 'one' (ovrecipe-one 1.0)" in done.out


def test_check_is_content_with_what_is_built_in(ovrecipe: Command, site: Site) -> None:
    done = ovrecipe("plugins", "--check")
    assert done.code == 0, done.out
