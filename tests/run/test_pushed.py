"""Filters that are fed, and text of tokens that come one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.builtin.filters import MarkerOptions, stop_at, strip_markers
from ovrecipe.errors import PluginError
from ovrecipe.run.chain import ChosenFilter, FilterChain
from ovrecipe.run.detokenizing import TokenText, new_texts
from ovrecipe.run.pushed import PushedChain
from tests.run.fakes import plugin_filter

OPTIONS = MarkerOptions(markers=("ab", "b"))


def chain(*makers):
    """Return a chain of filters."""
    return FilterChain([ChosenFilter(plugin_filter(one).provided, OPTIONS) for one in makers])


def announced(pieces, options):
    """Say something before it asks for text."""
    yield "> "
    yield from pieces


def failing(pieces, options):
    """Break the contract."""
    yield next(iter(pieces))
    raise ValueError("no")


@pytest.mark.parametrize("makers", [(), (strip_markers,), (announced, strip_markers), (stop_at,)])
@given(pieces=st.lists(st.text(alphabet="abc", max_size=3), max_size=8))
def test_fed_or_asked_filters_show_the_same(makers, pieces):
    """However the text is cut, of filters that hold back, say more, or end before it does."""
    pushed = PushedChain(chain(*makers))
    shown = "".join([*map(pushed.feed, pieces), pushed.finish()])
    assert shown == "".join(chain(*makers).over(pieces))


def test_what_can_be_shown_is_shown_at_once():
    """Nothing waits for the next piece."""
    pushed = PushedChain(chain(strip_markers))
    assert [pushed.feed("c"), pushed.feed("a"), pushed.feed("c")] == ["c", "", "ac"]
    assert pushed.finish() == ""


def test_an_error_of_a_filter_is_raised_where_it_is_fed():
    """And nothing more comes of it."""
    pushed = PushedChain(chain(failing))
    with pytest.raises(PluginError, match="mine"):
        pushed.feed("a")
    assert pushed.feed("b") == ""


class Utf8:
    """A tokenizer whose tokens are bytes."""

    def decode(self, rows, *, special=False):
        return [bytes(row).decode(errors="replace") for row in rows]


@given(text=st.text(max_size=20), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_text_of_tokens_is_whole_whatever_a_step_brings(text, sizes):
    """A character comes when its last byte does."""
    tokens, growing, shown = list(text.encode()), TokenText(), []
    while tokens:
        count = sizes[len(shown) % len(sizes)]
        growing.tokens += tokens[:count]
        tokens = tokens[count:]
        shown += new_texts(Utf8(), [(growing, not tokens)])
    assert "".join(shown) == text
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(shown)


def test_an_end_within_a_character_shows_that_something_is_missing():
    """As decoding the whole would."""
    growing = TokenText()
    growing.tokens += "é".encode()[:1]
    assert new_texts(Utf8(), [(growing, False)]) == [""]
    assert new_texts(Utf8(), [(growing, True)]) == ["\ufffd"]
