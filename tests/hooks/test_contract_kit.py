"""The kit for authors finds what would go wrong at the user's."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ovrecipe.errors import PluginError
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.hooks.provided import Traits
from ovrecipe.hooks.roles import PROTOCOLS, ROLES
from ovrecipe.testing import (
    assert_chunk_invariant,
    assert_imports_public_names,
    assert_plugin_conforms,
    filtered,
    plugins_with,
)
from ovrecipe.testing.checks import PUBLIC_IN_TESTS
from tests.hooks.installed import COMPRESSOR, compressor_code


def module(code: str) -> ModuleType:
    made = ModuleType("made")
    exec(code, vars(made))
    return made


def compressor(body: str = "") -> Any:
    return module(f"{COMPRESSOR}    {body}\n").Compressor


def test_modules_objects_and_providers_that_keep_the_contract_pass() -> None:
    """An author has one or the other."""
    assert_plugin_conforms(module(compressor_code("mine")))
    assert_plugin_conforms(compressor={"mine": compressor()})
    assert_plugin_conforms("ovrecipe-redact")


def test_a_distribution_that_is_not_installed_is_named() -> None:
    """A check of nothing would pass."""
    with pytest.raises(AssertionError, match="ovrecipe-nowhere: no entry points; is it installed"):
        assert_plugin_conforms("ovrecipe-nowhere")


def test_what_is_built_in_keeps_the_contract_but_for_owning_its_names() -> None:
    """It is written like any other, so it is checked like any other."""
    providers = load_plugins(env={}).builtin
    with pytest.raises(AssertionError, match=r"claims the source '.*', which is built in"):
        assert_plugin_conforms(**providers)
    assert_plugin_conforms(
        **{
            role: {f"my-{name}": thing for name, thing in own.items()}
            for role, own in providers.items()
        }
    )


@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ("version = 3", "version = None", "version: must be a whole number, got nothing"),
        ("version = 3", "def __init__(self): raise KeyError('x')", "raised KeyError"),
        ("{'mine': Compressor}", "{'mine': 5}", "has no method 'compress'"),
        ("{'mine': Compressor}", "{'mine': 'no_such_module:X'}", "No module named 'no_such_mod"),
        (
            "{'mine': Compressor}",
            "type('D', (dict,), {'__missing__': id})(a=Compressor)",
            "every name",
        ),
        ("'compressor'", "'compresor'", "no role 'compresor'; perhaps you meant 'compressor'"),
        ("def providers", "def provider", "unknown hook 'provider' .*; perhaps you meant 'prov"),
        ("@hookimpl", "", "lacks the marker @ovrecipe.hookimpl"),
    ],
)
def test_a_breach_is_told(wrong: str, right: str, reason: str) -> None:
    code = compressor_code("mine").replace('"compressor"', "'compressor'")
    assert wrong in code
    with pytest.raises(AssertionError, match=reason):
        assert_plugin_conforms(module(code.replace(wrong, right)))


def test_the_kit_asks_with_the_sections_that_it_is_given() -> None:
    """A provider may be made of them."""
    body = "def __init__(self, recipe): recipe.plugins['mine']"
    section = {"mine": Traits}
    given = {"compressor": {"mine": compressor(body)}, "recipe_section": section}
    assert_plugin_conforms(**given, sections={"mine": {}})
    with pytest.raises(AssertionError, match="raised KeyError"):
        assert_plugin_conforms(**given)


def test_plugins_of_a_test_leave_installed_ones_alone() -> None:
    plugins = plugins_with(module(compressor_code("mine")), output_filter={"mine": doubling})
    assert plugins.installed == ()
    assert plugins.names("compressor") == ["nncf", "fp16", "mine"]
    assert plugins.names("output_filter")[-1] == "mine"


def test_each_role_has_a_protocol_to_be_checked_against() -> None:
    """But for those whose object is called, or is a class of pydantic's."""
    assert {*PROTOCOLS} == {*ROLES} - {"command", "recipe_section"}


PRIVATE = [
    ("import ovrecipe.store", "ovrecipe.store"),
    ("from ovrecipe import store", "ovrecipe.store"),
    ("from ovrecipe.store import manifest", "ovrecipe.store.manifest"),
    ("from ovrecipe.cli.session import targets_of", "ovrecipe.cli.session.targets_of"),
    ("def late():\n    import ovrecipe.hooks.plugins", "ovrecipe.hooks.plugins"),
    ("from ovrecipe.testing import filtered", "ovrecipe.testing.filtered"),
]
ALLOWED = """
import ovrecipe.errors
from ovrecipe import Chat, hookimpl
from ovrecipe.errors import RunError
from ovrecipe.hooks import roles
from ovrecipe.recipe.sections import Section
from ovrecipe_mine import store
from . import store
"""


@pytest.fixture
def package(tmp_path: Path) -> ModuleType:
    """A package whose module `inner.part` imports what is public."""
    made = ModuleType("mine")
    made.__file__, made.__path__ = str(tmp_path / "mine" / "__init__.py"), []
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    (tmp_path / "mine" / "inner" / "part.py").write_text(ALLOWED)
    return made


def test_public_imports_pass(package: ModuleType) -> None:
    assert_imports_public_names(package)


@pytest.mark.parametrize(("code", "name"), PRIVATE)
def test_a_private_import_is_told_with_its_place(
    package: ModuleType, tmp_path: Path, code: str, name: str
) -> None:
    """Wherever in the package it stands."""
    path = tmp_path / "mine" / "inner" / "other.py"
    path.write_text(f"{ALLOWED}{code}\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(AssertionError, match=re.escape(f"{path}:{line}: {name}")):
        assert_imports_public_names(package)


def test_tests_may_import_the_kit_too_and_nothing_private(
    package: ModuleType, tmp_path: Path
) -> None:
    """What a test relies on can break a plugin's release as well."""
    tests_dir = tmp_path / "tests"
    tests_dir.mkdir()
    (tests_dir / "test_mine.py").write_text("from ovrecipe.testing import filtered\n")
    assert_imports_public_names(package, tests_dir=tests_dir)
    for private in ("import ovrecipe.testing.checks", "from ovrecipe.testing import checks"):
        (tests_dir / "test_other.py").write_text(f"{private}\n")
        with pytest.raises(AssertionError, match=r"test_other.py:1: ovrecipe.testing.checks"):
            assert_imports_public_names(package, tests_dir=tests_dir)


def test_a_plugin_of_one_file_is_read_alone(tmp_path: Path) -> None:
    """Its neighbours are somebody else's."""
    made = ModuleType("mine")
    made.__file__ = str(tmp_path / "mine.py")
    (tmp_path / "neighbour.py").write_text("import ovrecipe.store\n")
    (tmp_path / "mine.py").write_text(ALLOWED)
    assert_imports_public_names(made)


def test_every_name_that_is_public_is_there() -> None:
    """The list outlives what it names otherwise."""
    for name in PUBLIC_IN_TESTS:
        pkgutil.resolve_name(name)


def doubling(pieces: Iterable[str], options: object) -> Iterator[str]:
    """Double each `x`; any cut is as good as another."""
    for piece in pieces:
        yield piece.replace("x", "xx")


def pairs(pieces: Iterable[str], options: object) -> Iterator[str]:
    """Hide `xyxyxy`, and forget that it may come in two pieces of more than one letter."""
    held = ""
    for piece in pieces:
        held = held + piece if len(piece) == 1 else piece
        if not "xyxyxy".startswith(held) or held == "xyxyxy":
            yield held.replace("xyxyxy", "")
            held = ""
    yield held


def test_a_filter_that_keeps_its_promise_passes() -> None:
    assert_chunk_invariant(doubling, alphabet="xy")


def test_texts_that_never_trigger_the_filter_prove_nothing() -> None:
    """Most filters that were wrong passed for that."""
    with pytest.raises(AssertionError, match="none of the texts triggers the filter"):
        assert_chunk_invariant(doubling, alphabet="ab", max_examples=20)
    assert_chunk_invariant(doubling, alphabet="ab", texts=["a x b"], max_examples=20)


def test_texts_of_the_author_are_cut_at_random_too() -> None:
    """Letter by letter this one is right."""
    assert filtered(pairs, {}, list("axyxyxyb")) == filtered(pairs, {}, ["axyxyxyb"]) == "ab"
    with pytest.raises(AssertionError, match="cut into"):
        assert_chunk_invariant(pairs, alphabet="a", texts=["axyxyxyb"])


def test_what_is_no_filter_is_said_to_be_none() -> None:
    """A message about an attribute of somebody's class would not tell."""
    with pytest.raises(PluginError, match=r"is no output filter: has no method 'feed'; has no"):
        filtered(dict, {}, ["a"])
    with pytest.raises(PluginError, match=r"it\(\) is called with \(pieces, options\)"):
        filtered(lambda pieces: pieces, {}, ["a"])


def test_the_pytest_plugin_imports_no_plugin_host_before_a_fixture_is_used() -> None:
    """It is loaded in every pytest session of an environment that has ovrecipe."""
    code = "import sys, ovrecipe.testing.pytest_plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "ovrecipe.testing.pytest_plugin" in loaded
    assert not {"ovrecipe.hooks", "pydantic", "yaml"} & set(loaded)
