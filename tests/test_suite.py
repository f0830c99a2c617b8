"""The suite itself: no file of tests is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

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
