"""What ovrecipe sees of the plugin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ovrecipe_budget

from ovrecipe.testing import assert_imports_public_names


def test_the_plugin_keeps_the_contract(assert_plugin_conforms: Callable[..., None]) -> None:
    """The host's own check."""
    assert_plugin_conforms("ovrecipe-budget")


def test_only_public_names_of_ovrecipe_are_imported() -> None:
    """A release of ovrecipe may change all others."""
    assert_imports_public_names(ovrecipe_budget, tests_dir=Path(__file__).parent)


def test_importing_it_loads_nothing_heavy() -> None:
    """A hook is also asked when nothing is built."""
    code = (
        "import sys, ovrecipe_budget\n"
        "print({'openvino', 'nncf', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
