"""Filters behind one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.builtin.filters import HideReasoning, StopAt, StripMarkers
from ovrecipe.errors import PluginError, ProviderUnknown
from ovrecipe.hooks.options import validated
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.chain import FilterChain, chosen_filters
from ovrecipe.testing import assert_chunk_invariant, plugins_with
from tests.run.fakes import plugin_filter


def made(provider, options):
    return provider.create(validated(provider, options, where="x"))


class ThreeFilters:
    """A chain of three as one filter, so that its contract can be checked like a filter's."""

    options_model = None

    def create(self, options):
        return FilterChain(
            [
                made(HideReasoning(), {}),
                made(StripMarkers(), {"markers": ["<b>"]}),
                made(StopAt(), {"markers": ["ab"]}),
            ]
        )


class Shouting:
    def feed(self, text):
        return text.upper()

    def finish(self):
        return "!"


class Broken:
    options_model = None

    def __init__(self, answer=None):
        self.answer = answer

    def create(self, options):
        return self

    def feed(self, text):
        return self.answer if self.answer is not None else text[99]

    def finish(self):
        return ""


def test_a_chain_shows_the_same_however_the_text_is_cut():
    """The contract is the chain's as well."""
    assert_chunk_invariant(ThreeFilters(), alphabet="ab<>/think", max_examples=400)


def test_what_one_filter_held_back_passes_through_those_behind_it():
    """The end of the text cascades from the first filter to the last."""
    chain = FilterChain([made(StopAt(), {"markers": ["zzz"]}), Shouting()])
    assert chain.feed("az") == "A"
    assert chain.finish() == "Z!"


def test_an_empty_chain_changes_nothing():
    """Most recipes have no filters."""
    chain = FilterChain()
    assert chain.feed("a") + chain.finish() == "a"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Broken(), "raised IndexError: string index out of range"),
        (Broken(answer=3), "raised TypeError: an output filter returns text, not int"),
    ],
)
def test_a_filter_that_breaks_is_named(broken, message):
    """Its author is somebody else."""
    blamed = rf"'mine' of plugin 'theirs' \(ovrecipe-theirs 1\.2\) {message}"
    with pytest.raises(PluginError, match=blamed):
        plugin_filter(broken).create().feed("text")


def test_a_filter_that_nobody_provides_is_refused():
    """Silently showing the raw text would be a surprise."""
    recipe = Recipe.model_validate(
        {
            "name": "m",
            "path": Path("m.yaml"),
            "model": {"id": "org/m"},
            "variants": {"int4": {}},
            "output": {"filters": ["strip_marker"]},
        }
    )
    with pytest.raises(ProviderUnknown, match="strip_marker"):
        chosen_filters(recipe, plugins_with())
