"""The suite itself: no file of tests is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GROUPS, REPOSITORY

pytestmark = pytest.mark.slow

#: What a `make` around this one, and the process of a test, hand down.
INHERITED = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_")


def collected_by_make_test() -> set[str]:
    """Return the files in which the commands of `make test` find tests."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    stamps = [
        f"--assume-old={sys.prefix}/{stamp}" for stamp in (".installed", ".plugins-installed")
    ]
    made = subprocess.run(
        ["make", *stamps, "test", f"VENV={sys.prefix}", "WORKERS=1", "CHROMIUM=chromium"],
        cwd=REPOSITORY,
        env={**env, "PYTEST_ADDOPTS": "--collect-only -qq"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    found, folder = set(), ""
    for line in made.stdout.splitlines():
        if line.startswith("== "):
            folder = line.removeprefix("== ") + "/"
        elif match := re.fullmatch(r"(\S+\.py): \d+", line):
            found.add(folder + match[1])
    return found


def test_make_test_collects_every_file_of_tests() -> None:
    """Folders called `build` are left out by default, so a tenth of the suite once never ran."""
    there = [
        *REPOSITORY.glob("tests/**/test_*.py"),
        *REPOSITORY.glob("plugins/*/tests/**/test_*.py"),
    ]
    files = {path.relative_to(REPOSITORY).as_posix() for path in there}
    assert sorted(files - collected_by_make_test()) == []


def test_what_shares_a_heavy_fixture_runs_in_one_process(tmp_path: Path) -> None:
    """pytest-xdist reads the groups of `conftest.py`, whatever the versions of both."""
    (tmp_path / "test_shared.py").write_text(
        f"""
import pytest

@pytest.fixture
def {next(iter(GROUPS))}():
    pass

@pytest.mark.parametrize("number", range(8))
def test_where_it_runs(number, {next(iter(GROUPS))}, worker_id):
    open({str(tmp_path)!r} + "/ran-" + worker_id, "a").write("x")
""",
        encoding="utf-8",
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(INHERITED)}
    words = ["-p", "tests.conftest", "-n", "2", "--dist", "loadgroup", "--rootdir", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, *map(str, words), str(tmp_path)],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.read_text() for path in tmp_path.glob("ran-*")] == ["x" * 8]
