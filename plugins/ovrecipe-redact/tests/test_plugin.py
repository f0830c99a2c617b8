"""The plugin among others: its contract, its imports, its options and the recipe's errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ovrecipe_redact as plugin
import pytest
from ovrecipe_redact.provider import Redact

from ovrecipe.errors import RecipeInvalid
from ovrecipe.testing import FakePipeline, assert_imports_public_names, filtered


def test_the_plugin_keeps_the_contract(assert_plugin_conforms) -> None:
    """Names, hooks and the provider's shape."""
    assert_plugin_conforms("ovrecipe-redact")


def test_only_public_names_are_imported() -> None:
    """All else may change with any release."""
    assert_imports_public_names(plugin, tests_dir=Path(__file__).parent)


def test_importing_the_plugin_loads_nothing_else_of_it() -> None:
    """Rules are for who filters, and a filter needs no model."""
    code = "import sys, ovrecipe_redact; print(*sys.modules)"
    assert not {"ovrecipe_redact.options", "pydantic"} & modules_after(code)
    code = "import sys, ovrecipe_redact.provider; print(*sys.modules)"
    assert not {"openvino", "openvino_genai", "numpy", "torch"} & modules_after(code)


def modules_after(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


def test_a_recipe_finds_the_filter_by_name(ovrecipe_plugins, ovrecipe_recipe) -> None:
    """As `output.filters: [redact]` does."""
    plugins = ovrecipe_plugins(output_filter={"redact": Redact})
    found = plugins.provider("output_filter", "redact", ovrecipe_recipe)
    assert filtered(found.provider, {}, ["to a@b.", "org"]) == "to [email]"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"patterns": {"x": "a*"}}, r"'x': matches empty text"),
        ({"patterns": {"x": r"\b"}}, r"'x': matches empty text"),
        ({"patterns": {"x": "|a"}}, r"'x': matches empty text"),
        ({"patterns": {"x": "(a"}}, r"'x': at character 2: '\(' without '\)'"),
        ({"patterns": {"x": "a)"}}, r"'x': at character 1: '\)' without '\('"),
        ({"patterns": {"x": "[a"}}, r"'\[' without '\]'"),
        ({"patterns": {"x": "[b-a]"}}, r"bad character range"),
        ({"patterns": {"x": "[[a]]"}}, r"escape '\[' within \[\.\.\.\]"),
        ({"patterns": {"x": "(?<=a)b"}}, r"lookaround"),
        ({"patterns": {"x": "(?=a)b"}}, r"lookaround"),
        ({"patterns": {"x": r"(a)\1"}}, r"\\1 cannot be matched in a stream"),
        ({"patterns": {"x": "a**"}}, r"a repetition is repeated"),
        ({"patterns": {"x": "*a"}}, r"nothing to repeat"),
        ({"patterns": {"x": "a++"}}, r"a repetition is repeated"),
        ({"patterns": {"x": "a{3,2}"}}, r"counts go from 0 to 1000"),
        ({"patterns": {"x": "a{2000}"}}, r"counts go from 0 to 1000"),
        ({"patterns": {"x": "(?:(?:a{99}){99}){99}"}}, r"too large"),
        ({"patterns": {"x": "a\\"}}, r"cannot be matched"),
        ({"patterns": {"x": ""}}, r"matches empty text"),
        ({"patterns": {"x": 5}}, r"patterns\.x: must be text, got 5"),
        ({"patterns": {"no name": "a"}}, r"is letters, digits"),
        ({"patterns": {"email": "a"}}, r"'email' is built in"),
        (
            {"known": ["mail"]},
            r"must be one of email, phone, card, key, .* perhaps you meant 'email'",
        ),
        ({"known": []}, r"nothing to redact"),
        ({"placeholders": {"iban": "x"}}, r"no rule is named 'iban'"),
        ({"max_length": 10}, r"must be at least 160"),
        ({"max_length": 10**9}, r"must be at most 4096"),
        ({"pattern": {}}, r"unknown key; perhaps you meant 'patterns'"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, reason) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(RecipeInvalid, match=reason):
        filtered(Redact, options, ["text"])


def test_nested_repetition_of_a_refused_size_is_refused_at_once() -> None:
    """A recipe must not be able to fill the memory: (a{1000}){1000} is a million letters."""
    with pytest.raises(RecipeInvalid, match="too large"):
        filtered(Redact, {"patterns": {"x": "(?:a{1000}){1000}"}}, ["text"])


def test_a_fake_model_is_redacted_token_by_token(ovrecipe_plugins, ovrecipe_recipe) -> None:
    """Pieces come as tokens do, within words."""
    pieces = list(FakePipeline(("Wri", "te to ada", "@", "example", ".org", ".")).pieces)
    plugins = ovrecipe_plugins(output_filter={"redact": Redact})
    found = plugins.provider("output_filter", "redact", ovrecipe_recipe)
    assert filtered(found.provider, {}, pieces) == "Write to [email]."
