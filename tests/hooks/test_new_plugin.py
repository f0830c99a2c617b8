"""What `ovrecipe new-plugin` writes installs, passes its own tests and works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from ovrecipe.cli.plugin_scaffold import KINDS, command
from ovrecipe.errors import ProjectError
from ovrecipe.hooks.roles import ROLES

pytestmark = pytest.mark.slow


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(cwd / "site"), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new plugin of every kind, installed together; pip is the slow part of these tests.

    No network is needed: the build backend is among the tests' own requirements.
    """
    folder = tmp_path_factory.mktemp("workshop")
    for kind in KINDS:
        command(name_of(kind), role=kind, parent=folder)
    made = [str(folder / f"ovrecipe-{name_of(kind)}") for kind in KINDS]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site"]
    done = run("-m", "pip", "install", *options, *made, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def name_of(kind: str) -> str:
    """Return a name that is as awkward as names may be."""
    return f"my2-{kind.replace('_', '-')}-4bit"


def fixtures() -> list[str]:
    """Return how pytest is told of our fixtures where ovrecipe was installed before it had them."""
    known = entry_points(group="pytest11", name="ovrecipe")
    return [] if known else ["-p", "ovrecipe.testing.pytest_plugin"]


def test_new_plugins_pass_their_own_tests(workshop: Path) -> None:
    """An author starts from green."""
    folders = [f"ovrecipe-{name_of(kind)}" for kind in KINDS]
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *fixtures(), *folders, cwd=workshop)
    assert done.returncode == 0, done.stdout


def test_new_plugins_pass_the_check_and_are_listed(workshop: Path) -> None:
    code = "from ovrecipe.cli.main import main; main()"
    done = run("-c", code, "plugins", "--check", cwd=workshop)
    assert done.returncode == 0, done.stdout
    for kind in KINDS:
        assert re.search(rf"ovrecipe-{name_of(kind)} +0\.1\.0 +loaded", done.stdout)


def test_new_plugins_say_in_english_what_they_are(workshop: Path) -> None:
    """The sentence is the first that a registry and a repository show."""
    for kind, said in (("output_filter", "An output filter"), ("source", "A source")):
        for name in ("pyproject.toml", "README.md"):
            text = (workshop / f"ovrecipe-{name_of(kind)}" / name).read_text()
            assert f"{said} for ovrecipe." in text


def test_every_role_has_a_template() -> None:
    assert {*ROLES} - {"recipe_section", "cluster"} <= {*KINDS}


@pytest.mark.parametrize(
    ("role", "name"),
    [("compressor", "nncf"), ("source", "hub"), ("frontend", "quiet"), ("command", "run")],
)
def test_a_name_that_is_built_in_is_refused(tmp_path: Path, role: str, name: str) -> None:
    """It would fail its own tests, and nobody could use it."""
    with pytest.raises(typer.BadParameter, match=f"{role} '{name}' is built in"):
        command(f"ovrecipe-{name}", role=role, parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_built_in_for_another_role_is_free(tmp_path: Path) -> None:
    command("nncf", role="frontend", parent=tmp_path)
    assert (tmp_path / "ovrecipe-nncf" / "pyproject.toml").exists()


@pytest.mark.parametrize(
    "name", ["", "Upper", "two--hyphens", "../up", "under_score", "9lives", "x"]
)
def test_a_name_that_no_distribution_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(typer.BadParameter, match="lower-case letters"):
        command(name, role="frontend", parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_role_suggests_the_closest(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="perhaps you meant 'output_filter'"):
        command("mine", role="output-filters", parent=tmp_path)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "ovrecipe-mine").mkdir()
    with pytest.raises(ProjectError, match="ovrecipe-mine is there already"):
        command("ovrecipe-mine", role="frontend", parent=tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="cannot be written: Not a directory"):
        command("mine", role="frontend", parent=tmp_path / "file")
