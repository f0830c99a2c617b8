"""What the command does when its output goes nowhere, and when it is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ovrecipe.build.events import LogKept, Started
from ovrecipe.cli.build_commands import watching
from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.build.test_stages_run import store_leftovers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("word", ["list", "--help"])
def test_a_reader_that_left_is_no_error_of_ours(project: Project, word: str) -> None:
    """As for every unix tool: 128 and SIGPIPE."""
    write_recipe(project, "m", fake_recipe())
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ovrecipe", word],
        cwd=project.root, stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["list"], ["--help"], ["list", "--json"]])
def test_a_closed_output_is_said_in_a_line(project: Project, words: list[str]) -> None:
    """`ovrecipe list >&-`: nothing can be shown, and no file may come to stand in its place."""
    write_recipe(project, "m", fake_recipe())
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "ovrecipe", *words]
    done = subprocess.run(shell, cwd=project.root, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"ovrecipe: standard output is closed\n"


def test_closed_input_and_errors_do_no_harm(project: Project) -> None:
    """A daemon starts its children like that; an error must not come out as a result."""
    shell = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-m", "ovrecipe", "show", "x"]
    done = subprocess.run(shell, cwd=project.root, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (3, b"")


def test_a_full_output_is_said_in_a_line(project: Project) -> None:
    """A disk that is full is the user's to mend."""
    write_recipe(project, "m", fake_recipe())
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ovrecipe", "list"],
            cwd=project.root, stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 9
    assert done.stderr == b"ovrecipe: standard output: no space left on device\n"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_nothing_and_says_so(
    project: Project, pipe: Path, ending: signal.Signals
) -> None:
    """No process, no folder, and a sentence about how to go on."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "hangs"}))
    words = ("-p", FAKE_PLUGIN, "build", "m:int4")
    with (
        subprocess.Popen(
            [sys.executable, "-m", "ovrecipe", *words], cwd=project.root, stderr=subprocess.PIPE
        ) as process,
        pipe.open() as hanging,
    ):
        assert hanging.readline() == "begun\n"
        process.send_signal(ending)
        _, said = process.communicate()
        assert hanging.read() == "", "the pipe ends when the last process has ended"
    assert process.returncode == 130
    assert b"stopped; finished stages are kept" in said
    assert b"Traceback" not in said
    assert store_leftovers(project) == []


def test_a_quiet_build_says_only_errors(project: Project) -> None:
    """For the log of a script."""
    write_recipe(project, "m", fake_recipe(model={"id": "made:none"}))
    done = subprocess.run(
        [sys.executable, "-m", "ovrecipe", "-p", FAKE_PLUGIN, "build", "m:int4", "--quiet"],
        cwd=project.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert done.stderr == "ovrecipe: made:none: no such checkpoint\n  name another\n"


@pytest.mark.parametrize(
    ("quiet", "said"), [(False, ["working", "log kept"]), (True, ["log kept"])]
)
def test_where_the_log_lies_is_part_of_an_error(
    capsys: pytest.CaptureFixture[str], quiet: bool, said: list[str]
) -> None:
    """So it is said of a quiet build, too."""
    with watching(quiet=quiet) as watch:
        for event in (Started("base m", "working"), LogKept("base m", Path("base.log"))):
            watch(event)
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("   base m: ").partition(" at ")[0] for line in lines] == said
