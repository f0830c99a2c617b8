"""The command line with plugins installed, each call a process as a user makes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from tests.hooks.installed import Site, compressor_code

if TYPE_CHECKING:
    from pathlib import Path

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


def ovrecipe(
    site: Site, *arguments: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    code = "from ovrecipe.cli.main import main; main()"
    path = os.pathsep.join([str(site.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "120", "NO_COLOR": "1", **(env or {})},
        cwd=site.root.parent,
    )


def facts_of(site: Site, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what is listed, but for plugins that this environment has anyway."""
    done = ovrecipe(site, "plugins", "--json", *arguments, env=env)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["plugins"]
    return {each["name"]: each for each in listed if each["distribution"] not in INSTALLED}


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["list"], ["plugins", "--help"]])
@pytest.mark.parametrize("code", ["import time; time.sleep(60)", "raise SystemExit('no')"])
def test_a_slow_or_broken_plugin_is_not_touched_by_other_commands(
    site: Site, tmp_path: Path, command: list[str], code: str
) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("bad", code, entry_points="[ovrecipe]\nbad = MODULE\n" + SAY)
    done = ovrecipe(site, *command)
    assert done.returncode == 0, done.stderr
    assert site.imported == []


def test_help_names_the_commands_of_plugins_and_who_brings_them(site: Site) -> None:
    site.install("talk", COMMAND, version="0.3", entry_points=SAY)
    done = ovrecipe(site, "--help")
    assert "Commands of plugins" in done.stdout
    assert "ovrecipe-talk 0.3" in done.stdout


def test_a_command_of_a_plugin_runs_with_the_session(site: Site, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, entry_points=SAY)
    done = ovrecipe(site, "say", "hello", "--loud")
    assert (done.stdout, done.returncode) == (f"HELLO {tmp_path.name}\n", 0), done.stderr
    assert "Say a word." in ovrecipe(site, "say", "-h").stdout


def test_a_command_that_does_not_load_says_whose_it_is(site: Site) -> None:
    site.install("talk", "import no_such_module_at_all", entry_points=SAY)
    done = ovrecipe(site, "say", "x")
    assert done.returncode == 4
    assert "command 'say' of ovrecipe-talk 1.0 failed to load: ModuleNotFound" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_two_plugins_claim_runs_neither(site: Site) -> None:
    for name in ("one", "two"):
        site.install(name, COMMAND, entry_points=SAY)
    done = ovrecipe(site, "say", "x")
    assert done.returncode == 4
    assert "claimed by ovrecipe-one 1.0 and ovrecipe-two 1.0" in done.stderr
    assert site.imported == []


def test_a_skipped_plugin_has_no_command(site: Site) -> None:
    site.install(
        "talk",
        COMMAND,
        entry_points=SAY.replace("say", "list-words") + "\n[ovrecipe]\ntalk = MODULE",
    )
    done = ovrecipe(site, "-p", "no:talk", "list-words")
    assert done.returncode == 2
    assert "No such command 'list-words'" in done.stderr


def test_a_misspelt_plugin_to_skip_is_refused_with_the_closest(site: Site, tmp_path: Path) -> None:
    """Nothing would be skipped, and nobody would notice."""
    (tmp_path / "recipes").mkdir()
    site.install("talk", COMMAND, entry_points=SAY + "\n[ovrecipe]\ntalk = MODULE")
    done = ovrecipe(site, "-p", "no:tolk", "list")
    assert done.returncode == 4
    assert "no plugin is called 'tolk'; perhaps you meant 'talk'" in done.stderr
    for name in ("talk", "ovrecipe-talk", "Ovrecipe_Talk"):
        assert ovrecipe(site, "-p", f"no:{name}", "list").returncode == 0
    assert site.imported == []


def test_a_misspelt_command_suggests_the_closest(site: Site) -> None:
    assert "perhaps you meant 'plugins'" in ovrecipe(site, "plugin").stderr


@pytest.mark.skipif("ovrecipe-gradio" in INSTALLED, reason="the command is here")
def test_a_first_party_command_that_is_missing_says_how_to_install_it(site: Site) -> None:
    done = ovrecipe(site, "web", "smollm2-135m")
    assert done.returncode == 2
    assert "pip install ovrecipe-gradio" in done.stderr


def test_the_list_says_what_each_plugin_is_and_what_is_wrong(site: Site) -> None:
    site.install("awq", compressor_code("awq"), version="0.2")
    site.install("bad", "import nothing_like_that")
    site.install("off", compressor_code("off"))
    site.install("talk", COMMAND, entry_points=SAY)
    facts = facts_of(site, env={"OVRECIPE_DISABLED_PLUGINS": "off"})
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


def test_the_table_tells_the_same(site: Site) -> None:
    site.install("awq", compressor_code("awq"), version="0.2")
    site.install("bad", "import nothing_like_that")
    done = ovrecipe(site, "plugins")
    assert done.returncode == 0
    assert "ovrecipe-awq 0.2" in done.stdout
    assert "plugin 'bad' (ovrecipe-bad 1.0) failed to load: ModuleNotFoundError" in done.stdout
    assert "-p no:bad" in done.stdout


def test_the_list_can_be_narrowed_to_a_hook(site: Site) -> None:
    site.install("awq", compressor_code("awq"))
    assert set(facts_of(site, "--hook", "compressor")) == {"builtin", "awq"}
    assert set(facts_of(site, "--hook", "get_source")) == {"builtin"}
    done = ovrecipe(site, "plugins", "--hook", "get_sorce")
    assert done.returncode == 2
    assert "perhaps you meant 'get_source'" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("name", "code", "trouble"),
    [
        ("bad", "raise ValueError('x')", "ValueError: x"),
        ("odd", compressor_code("odd").replace("version = 3", ""), "has no attribute 'version'"),
        ("fp16", compressor_code("fp16"), "claims the compressor 'fp16'"),
    ],
)
def test_check_ends_with_4_when_a_plugin_is_wrong(
    site: Site, name: str, code: str, trouble: str
) -> None:
    site.install(name, code)
    done = ovrecipe(site, "plugins", "--check")
    assert done.returncode == 4
    assert trouble in done.stdout


def test_check_finds_names_that_two_plugins_list(site: Site) -> None:
    site.install("one", compressor_code("same"))
    site.install("same", compressor_code("same"))
    done = ovrecipe(site, "plugins", "--check")
    assert done.returncode == 4
    assert "the compressor 'same' is also of plugin 'one' (ovrecipe-one 1.0)" in done.stdout


def test_check_is_content_with_what_is_built_in(site: Site) -> None:
    done = ovrecipe(site, "plugins", "--check")
    assert done.returncode == 0, done.stdout
