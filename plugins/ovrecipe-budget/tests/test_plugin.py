"""What ovrecipe sees of the plugin."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PUBLIC = (
    "ovrecipe",
    "ovrecipe.hooks",
    "ovrecipe.hooks.roles",
    "ovrecipe.errors",
    "ovrecipe.types",
    "ovrecipe.testing",
)
FOLDER = Path(__file__).parents[1]
SOURCES = sorted([*FOLDER.glob("ovrecipe_budget/*.py"), *FOLDER.glob("tests/*.py")])


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_the_plugin_keeps_the_contract(assert_plugin_conforms: Callable[..., None]) -> None:
    """The host's own check."""
    assert_plugin_conforms("ovrecipe-budget")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_public_names_of_ovrecipe_are_imported(path: Path) -> None:
    """A release of ovrecipe may change all others."""
    ours = [name for name in imported(path) if name.split(".")[0] == "ovrecipe"]
    assert [name for name in ours if name not in PUBLIC] == []


def test_importing_it_loads_nothing_heavy() -> None:
    """A hook is also asked when nothing is built."""
    code = (
        "import sys, ovrecipe_budget\n"
        "print({'openvino', 'nncf', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
