"""`assert_plugin_conforms` finds what would go wrong at the user's."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

from ovrecipe.hooks.conformance import PROTOCOLS
from ovrecipe.hooks.roles import ROLES
from ovrecipe.testing import assert_plugin_conforms, plugins_with
from tests.hooks.installed import compressor_code


def module(code: str) -> ModuleType:
    made = ModuleType("made")
    exec(code, vars(made))
    return made


def test_a_plugin_that_keeps_the_contract_passes() -> None:
    assert_plugin_conforms(module(compressor_code("mine")))


def test_the_built_in_plugin_keeps_the_contract_but_for_owning_its_names() -> None:
    """It is written like any other, so it is checked like any other."""
    plugin = importlib.import_module("ovrecipe.builtin.plugin")
    with pytest.raises(AssertionError, match="claims the source 'dist', which is built in"):
        assert_plugin_conforms(plugin)


@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ("if name == 'mine' else None", "", "answers to every name"),
        ("if name == 'mine'", "if name == 'yours'", r"\('mine'\) returned None"),
        ("return ['mine']", "return ['mine', 'more']", r"\('more'\) returned None"),
        ("return ['mine']", "return []", "lists no name for 'compressor'"),
        ("def get_compressor", "def get_exporter", "'mine', but get_compressor lacks"),
        ("version = 3", "version = None", "version is None; it must be a whole number"),
        ("return Compressor()", "return 1 / 0", "raised ZeroDivisionError"),
        ("@hookimpl\ndef get", "@hookimpl\ndef git", "there is no hook 'git_compressor'"),
    ],
)
def test_a_breach_is_told(wrong: str, right: str, reason: str) -> None:
    code = compressor_code("mine")
    assert wrong in code
    with pytest.raises(AssertionError, match=reason):
        assert_plugin_conforms(module(code.replace(wrong, right)))


def test_the_kit_asks_with_the_sections_that_it_is_given() -> None:
    code = compressor_code("mine").replace(
        "def get_compressor(name):",
        ("def get_compressor(name, recipe):\n    recipe.plugins['mine']"),
    )
    assert_plugin_conforms(module(code), sections={"mine": {}})
    with pytest.raises(AssertionError, match="raised KeyError"):
        assert_plugin_conforms(module(code))


def test_plugins_of_a_test_leave_installed_ones_alone() -> None:
    plugins = plugins_with(module(compressor_code("mine")))
    assert [each.name for each in plugins.enabled] == ["builtin", "made"]


def test_each_role_has_a_protocol_to_be_checked_against() -> None:
    assert tuple(PROTOCOLS) == ROLES


def test_the_pytest_plugin_imports_no_plugin_host_before_a_fixture_is_used() -> None:
    """It is loaded in every pytest session of an environment that has ovrecipe."""
    code = "import sys, ovrecipe.testing.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "ovrecipe.testing.pytest_plugin" in loaded
    assert not {"ovrecipe.hooks", "pydantic", "yaml"} & set(loaded)
