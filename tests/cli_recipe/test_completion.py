"""What TAB offers, asked the way shells ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ovrecipe.cli.completion import joined

pytestmark = pytest.mark.slow

BASH = """
source <(_OVRECIPE_COMPLETE=source_bash "$OVRECIPE")
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_ovrecipe_completion "$OVRECIPE"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def program(project: Path) -> Path:
    """A program called ovrecipe: the name decides which variable a shell sets."""
    path = project / "ovrecipe"
    path.write_text(f"#!{sys.executable}\nfrom ovrecipe.cli.main import main\nmain()\n")
    path.chmod(0o755)
    (project / "recipes" / "other.yaml").write_text("extends: one\n")
    (project / "recipes" / "broken.yaml").write_text("[")
    return path


def in_bash(program: Path, *words: str) -> list[str]:
    """Return what bash would offer for these words, as it splits them."""
    assert shutil.which("bash")
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", *words],
        env={**os.environ, "OVRECIPE": str(program)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", "o"], ["one", "other"]),
        (["run", "on"], ["one", "one:int8", "one:int4-npu"]),
        (["run", "one", ":"], ["int8", "int4-npu"]),
        (["run", "one", ":", "int4"], ["int4-npu"]),
        (["run", "one:int4"], ["one:int4-npu"]),
        (["build", "one", ":", "int8", "other", ":", "int8"], ["int8"]),
        (["build", "one", ":", "int8", ""], ["broken", "one", "other"]),
        (["sizes", "on"], ["one"]),
        (["validate", "on"], ["one"]),
        (["verify", "on"], ["one", "one:int8", "one:int4-npu"]),
        (["rm", "broken", ":"], []),
        (["nosuch", "x"], []),
    ],
)
def test_bash_gets_names_and_variants(program: Path, words: list[str], offered: list[str]) -> None:
    """It takes NAME:VARIANT for three words, and replaces the last; or, told so, for one."""
    assert in_bash(program, "ovrecipe", *words) == offered


def test_other_shells_get_the_whole_word(program: Path) -> None:
    """They do not split at colons."""
    for shell in ("zsh", "fish"):
        done = subprocess.run(
            [str(program)],
            env={
                **os.environ,
                "_OVRECIPE_COMPLETE": f"complete_{shell}",
                "_TYPER_COMPLETE_ARGS": "ovrecipe chat one:int4",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert "one:int4-npu" in done.stdout.replace("\\", "")


def test_the_project_option_counts(program: Path, tmp_path: Path) -> None:
    """Names come from where the command would take them."""
    folder = tmp_path / "elsewhere"
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "mine.yaml").write_text("extends: x\n")
    assert in_bash(program, "ovrecipe", "--project", str(folder), "show", "") == ["mine"]


def test_without_a_project_nothing_is_offered_and_nothing_said(program: Path) -> None:
    """A shell prints what a completion says into the user's line."""
    words = ("ovrecipe", "--project", "/nowhere", "show", "")
    assert in_bash(program, *words) == []


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a", ":", "b"], ["a:b"]),
        (["a", ":"], ["a:"]),
        (["run", "a", ":", "b", "c", ":", "d", "-x"], ["run", "a:b", "c:d", "-x"]),
    ],
)
def test_words_are_put_together_at_colons(parts: list[str], words: list[str]) -> None:
    """As they were typed."""
    assert list(joined(parts)) == words
