"""Filters behind one another."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import BaseModel

from ovrecipe.builtin.filters import hide_reasoning, stop_at, strip_markers
from ovrecipe.errors import PluginError, ProviderUnknown, RecipeInvalid
from ovrecipe.hooks.provided import validated
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.chain import ChosenFilter, FilterChain, chosen_filters, filter_stream
from ovrecipe.testing import FakePipeline, assert_chunk_invariant, plugins_with
from tests.run.fakes import plugin_filter, runner


def chosen(maker, options):
    """Return a filter with its options."""
    given = validated(getattr(maker, "options_model", None), options)
    return ChosenFilter(plugin_filter(maker).provided, given)


def chain_of(*filters):
    """Return a chain of (maker, options)."""
    return FilterChain([chosen(*arguments) for arguments in filters])


def three_filters(pieces, options):
    """A chain of three as one filter, so that its contract can be checked like a filter's."""
    chain = chain_of(
        (hide_reasoning, {}),
        (strip_markers, {"markers": ["<b>"]}),
        (stop_at, {"markers": ["ab"]}),
    )
    return chain.over(pieces)


class Shouting:
    def feed(self, text):
        return text.upper()

    def finish(self):
        return "!"


def shouting(pieces, options):
    for piece in pieces:
        yield piece.upper()
    yield "!"


def unwrapped(pieces, options):
    """Hide what is in brackets; for the eyes only."""
    for piece in pieces:
        yield piece.replace("[x]", "")


unwrapped.display_only = True


def test_a_chain_shows_the_same_however_the_text_is_cut():
    """The contract is the chain's as well."""
    texts = ["a<think>b</think> <b>c", "xaby"]
    assert_chunk_invariant(three_filters, alphabet="ab<>/think", texts=texts, max_examples=400)


@pytest.mark.parametrize("maker", [Shouting, shouting])
def test_what_one_filter_held_back_passes_through_those_behind_it(maker):
    """The end of the text cascades from the first filter to the last."""
    shown = chain_of((stop_at, {"markers": ["zzz"]}), (maker, {})).over(["az"])
    assert list(shown) == ["A", "Z", "!"]


@pytest.mark.parametrize("maker", [Shouting, shouting])
def test_text_passes_as_it_comes(maker):
    """Nobody waits for the end of the answer, neither for a class nor for a function."""
    asked = []

    def pieces():
        for piece in ("a", "b"):
            asked.append(piece)
            yield piece

    shown = chain_of((maker, {}), (strip_markers, {"markers": ["#"]})).over(pieces())
    assert next(shown) == "A"
    assert asked == ["a"]
    assert next(shown) == "B"


def test_an_empty_chain_changes_nothing():
    """Most recipes have no filters."""
    assert list(FilterChain().over(["a", "b"])) == ["a", "b"]


def test_a_chain_makes_fresh_filters_for_each_text():
    """What one answer held back must not be in the next."""
    chain = chain_of((stop_at, {"markers": ["b"]}))
    assert [list(chain.over(["ab", "c"])) for _ in range(2)] == [["a"], ["a"]]


class Broken:
    def feed(self, text):
        return text[99]

    def finish(self):
        return ""


class Wrong(Broken):
    def feed(self, text):
        return 3


class Unmade(Broken):
    def __init__(self, options):
        raise KeyError("options")


def broken(pieces, options):
    for _ in pieces:
        yield None


def not_a_generator(pieces, options):
    return None


@pytest.mark.parametrize(
    ("maker", "message"),
    [
        (Broken, "raised IndexError: string index out of range"),
        (Wrong, "raised TypeError: an output filter yields text, not int"),
        (broken, "raised TypeError: an output filter yields text, not NoneType"),
        (Unmade, "raised KeyError: 'options'"),
        (not_a_generator, "raised TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_a_filter_that_breaks_is_named(maker, message):
    """Its author is somebody else."""
    with pytest.raises(PluginError, match=rf"'mine' of plugin 'theirs' \(theirs\) {message}"):
        list(plugin_filter(maker).over(["text"]))


def test_a_filter_that_stops_early_does_not_stop_the_model():
    """It hides; the figures are those of the whole answer."""

    def first(pieces, options):
        for piece in pieces:
            yield piece
            return

    gate = threading.Semaphore(1)
    with runner(
        FakePipeline("abc", gate=gate), filters=FilterChain([plugin_filter(first)])
    ) as model:
        answer = model.stream("hi")
        shown = iter(answer)
        assert next(shown) == "a"
        gate.release(2)
        assert list(shown) == []
    assert answer.result.generated_tokens == 3


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_what_is_held_back_is_not_shown_of_a_text_without_an_end(how):
    """Half a marker is no text; an error comes in its place."""
    fail = RuntimeError("broken") if how == "failed" else None
    held = chosen(stop_at, {"markers": ["zzz"]})
    with runner(FakePipeline(["az"], fail=fail), filters=FilterChain([held])) as model:
        answer = model.stream("hi")
        shown = []
        if how == "failed":
            with pytest.raises(RuntimeError, match="broken"):
                shown.extend(answer)
        else:
            for text in answer:
                shown.append(text)
                answer.cancel()
    assert shown == ["a"]


def test_a_filter_for_the_eyes_leaves_the_history_alone():
    """What is hidden from the user is still what the model said, and must not confuse it."""
    filters = FilterChain([plugin_filter(unwrapped), plugin_filter(shouting)])
    with runner(FakePipeline(["a [x]", "b"]), filters=filters) as model:
        chat = model.chat()
        assert chat.generate("hi").text == "A B!"
        assert chat.history[-1] == {"role": "assistant", "content": "A [X]B!"}


def test_without_a_filter_for_the_eyes_the_history_has_what_was_shown():
    """As it always was; no text passes the filters twice."""
    assert FilterChain([plugin_filter(shouting)]).kept() is None


def test_a_class_without_options_needs_no_init():
    """The smallest class is two methods."""
    assert "".join(filter_stream(Shouting, None, ["a"])) == "A!"


def recipe_with(filters, path=Path("m.yaml")):
    return Recipe.model_validate(
        {
            "name": "m",
            "path": path,
            "model": {"id": "org/m"},
            "variants": {"int4": {}},
            "output": {"filters": filters},
        }
    )


def test_a_filter_that_nobody_provides_is_refused():
    """Silently showing the raw text would be a surprise."""
    with pytest.raises(ProviderUnknown, match="strip_marker"):
        chosen_filters(recipe_with(["strip_marker"]), plugins_with())


def test_wrong_options_are_refused_at_their_place_in_the_file(tmp_path):
    """A recipe has many filters, and only one of them is wrong."""

    class Options(BaseModel, extra="forbid"):
        find: str = "x"

    def replace(pieces, options):
        yield from pieces

    replace.options_model = Options
    path = tmp_path / "recipes" / "m.yaml"
    path.parent.mkdir()
    path.write_text(
        "model: {id: org/m}\nvariants: {int4: {}}\noutput:\n  filters:\n"
        "    - hide_reasoning\n    - replace:\n        fnd: y\n"
    )
    expected = (
        r"^recipes/m\.yaml:7:9: output\.filters\[1\]\.replace\.fnd: "
        r"unknown key; perhaps you meant 'find'$"
    )
    recipe = load_recipe_file(path, shown_from=tmp_path)
    with pytest.raises(RecipeInvalid, match=expected):
        chosen_filters(recipe, plugins_with(output_filter={"replace": replace}))


def test_options_of_a_filter_that_takes_none_are_refused(tmp_path):
    """They would be ignored in silence."""
    path = tmp_path / "m.yaml"
    path.write_text(
        "model: {id: org/m}\nvariants: {int4: {}}\noutput: {filters: [{shout: {loud: 1}}]}\n"
    )
    plugins = plugins_with(output_filter={"shout": shouting})
    with pytest.raises(RecipeInvalid, match=r"m\.yaml:3:29: .*\.loud: unknown key; there are none"):
        chosen_filters(load_recipe_file(path), plugins)
