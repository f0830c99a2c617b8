"""The built-in output filters."""

from __future__ import annotations

import pytest

from ovrecipe.builtin.filters import hide_reasoning, stop_at, strip_markers
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks.provided import validated
from ovrecipe.testing import assert_chunk_invariant, filtered

MARKERS = {"markers": ["<|im_end|>", "<|im", "### End"]}


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        (strip_markers, {"markers": ["<|end|>"]}),
        (strip_markers, {"markers": ["aba", "ab", "bab"]}),
        (strip_markers, MARKERS),
        (stop_at, {"markers": ["\n\n", "\nQ:"]}),
        (stop_at, {"markers": ["abab", "b>"]}),
        (hide_reasoning, {}),
        (hide_reasoning, {"start": "a", "end": "ab", "begins_inside": True}),
        (hide_reasoning, {"start": "<>", "end": "<>"}),
    ],
)
def test_text_is_the_same_however_it_is_cut(provider, options):
    """A stream is cut wherever the tokenizer and the clock say."""
    assert_chunk_invariant(
        provider,
        options,
        texts=["<think>a</think>\n b", "aba<|end|>", "x<|im_end|>y", "z\n\nQ", "<>b<>"],
    )


def test_strip_markers_leaves_comparisons_alone():
    """The tutorial's `<.*>` ate everything between two comparisons (defect 3)."""
    text = "if a<b and c>d: <|im_end|>!!! done!"
    assert filtered(strip_markers, MARKERS, [text]) == "if a<b and c>d: !!! done!"


def test_strip_markers_takes_the_longest_of_those_that_begin_together():
    """`<|im` must not leave `_end|>` behind."""
    assert filtered(strip_markers, MARKERS, list("x<|im_end|>y<|imz")) == "xyz"


def test_strip_markers_does_not_look_at_what_it_joined():
    """Only what the model wrote is a marker."""
    assert filtered(strip_markers, {"markers": ["ab"]}, ["aabb"]) == "ab"


def test_a_beginning_of_a_marker_is_shown_when_the_text_ends():
    """Held back is not lost."""
    assert filtered(strip_markers, MARKERS, ["a <|im_en"]) == "a _en"
    assert filtered(stop_at, {"markers": ["### End"]}, ["a ##"]) == "a ##"


def test_only_what_may_become_a_marker_is_held_back():
    """A stream must flow."""
    options = validated(strip_markers.options_model, MARKERS)
    shown = strip_markers(iter(["hello <", "b"]), options)
    assert next(shown) == "hello "
    assert next(shown) == "<b"


def test_stop_at_drops_the_first_marker_and_all_behind_it():
    """A few-shot model goes on with the next question by itself."""
    pieces = ["Paris.", "\n", "Q: And", " Spain?\nQ:"]
    assert filtered(stop_at, {"markers": ["\nQ:"]}, pieces) == "Paris."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>\nHm.\n</think>\n\nParis.", "Paris."),
        ("A <think>x</think> B <think>y</think>C", "A B C"),
        ("A <think>never ends", "A "),
        ("no reasoning </think> here", "no reasoning </think> here"),
    ],
)
def test_hide_reasoning_shows_the_answer_only(text, shown):
    """White space behind the end belongs to the reasoning; without an end all is reasoning."""
    assert filtered(hide_reasoning, {}, [text]) == shown


def test_hide_reasoning_may_begin_inside():
    """Some chat templates write the start marker into the prompt."""
    options = {"begins_inside": True}
    assert filtered(hide_reasoning, options, ["Hm.</think>\nParis."]) == "Paris."


class Copied(str):
    """A text that counts the letters which are copied out of it and of what was made of it."""

    __slots__ = ()
    letters = 0

    def __getitem__(self, place):
        return self._counted(super().__getitem__(place))

    def __add__(self, other):
        return self._counted(super().__add__(other))

    def __radd__(self, other):
        return self._counted(other + str(self))

    def _counted(self, text):
        Copied.letters += len(text)
        return Copied(text)


def letters_copied(count):
    """Return how many letters are copied for a text with `count` markers."""
    before = Copied.letters
    filtered(strip_markers, {"markers": ["<|end|>"]}, [Copied("<|end|>a" * count)])
    return Copied.letters - before


def test_filters_do_work_in_proportion_to_the_text():
    """Also with a marker everywhere, where what is behind each must not be copied again."""
    small = letters_copied(100)
    assert small > 0
    assert letters_copied(1_000) <= 11 * small


@pytest.mark.parametrize(
    ("provider", "options", "message"),
    [
        (strip_markers, {"marker": ["x"]}, r"x\.marker: unknown key; perhaps .* 'markers'"),
        (strip_markers, {}, r"x\.markers: is missing"),
        (stop_at, {"markers": []}, r"x\.markers: must not be empty"),
        (stop_at, {"markers": [""]}, r"x\.markers\[0\]: must not be empty"),
        (hide_reasoning, {"end": 3}, r"x\.end: must be text, got 3"),
    ],
)
def test_wrong_options_are_refused_by_name(provider, options, message):
    """A filter that ignores its options is worse than none."""
    with pytest.raises(RecipeInvalid, match=message):
        validated(provider.options_model, options, loc=("x",))
