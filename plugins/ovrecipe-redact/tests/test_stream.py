"""The filter's promises: any cut, bounded hold-back, linear time, and the meaning of patterns."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ovrecipe_redact.automaton import Automaton
from ovrecipe_redact.expression import can_be_empty, parsed
from ovrecipe_redact.known import NAMES, known_rules
from ovrecipe_redact.provider import Redact
from ovrecipe_redact.redactor import Redactor, Rule, Rules

from ovrecipe.testing import filtered
from tests.test_known import PEM

PRIVATE = (
    "ada@example.org", "+49 89 1234567", "4111 1111 1111 1111", "sk-" + "aB3_" * 8, PEM,
    "555-010-9999", "eyJhbGciOiJIUzI1NiJ9.eyJz", "@", "\n", ".", " ", "-----BEGIN ", "x",
)  # fmt: skip
KNOWN = Rules(rule for name in NAMES for rule in known_rules(name, f"[{name}]"))


def shown(rules: Rules, pieces: list[str], max_length: int = 256) -> str:
    redactor = Redactor(rules, max_length=max_length)
    return "".join(map(redactor.feed, pieces)) + redactor.finish()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patterns": {"ab": "a+b", "line": "^<.*>$", "word": r"\ba\b"}, "known": []},
        {"patterns": {"long": r"[ab<>/! \n]{2,400}!"}, "known": ["email"]},
        {"patterns": {"end": r"b\Z", "start": r"\Aa+"}, "known": []},
    ],
)
def test_the_cuts_do_not_matter(assert_chunk_invariant, options) -> None:
    """The contract of every filter."""
    assert_chunk_invariant(Redact, options, texts=PRIVATE)


@given(st.data())
def test_the_cuts_do_not_matter_within_what_is_private(data) -> None:
    """Cuts fall into addresses, numbers and keys, with beginnings of them around."""
    part = st.one_of(
        st.sampled_from(PRIVATE),
        st.sampled_from(PRIVATE).flatmap(lambda t: st.integers(0, len(t)).map(lambda n: t[:n])),
    )
    text = "".join(data.draw(st.lists(part, max_size=6)))
    cuts = data.draw(st.sets(st.integers(0, len(text)), max_size=30))
    places = sorted({0, len(text), *cuts})
    whole = shown(KNOWN, [text])
    assert shown(KNOWN, [text[a:b] for a, b in pairwise(places)]) == whole
    assert shown(KNOWN, list(text)) == whole


@given(st.text(max_size=60), st.sampled_from(PRIVATE[:4]), st.text(max_size=60))
def test_nothing_private_is_shown_whatever_stands_around_it(before, private, behind) -> None:
    """A space on each side is enough to be found."""
    assert private not in shown(KNOWN, [*before, " ", *private, " ", *behind])


def expressions() -> st.SearchStrategy[str]:
    """Return patterns that Python's `re` reads in the same way."""
    letters = st.sampled_from(["a", "b", "-", ".", "[^a]", r"\w", r"\W", "[a\\-]", r"\n", "(?:ab)"])
    places = st.sampled_from([r"\b", r"\B", "^", "$", r"\A", r"\Z", ""])
    sign = st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}", "{2,}", "{0,1}", "*?", "{,2}"])
    atom = st.builds(lambda a, b, c: a + b + c, places, letters, sign)

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        choice = st.lists(inner, min_size=1, max_size=3).map("|".join)
        some = inner.filter(lambda text: not can_be_empty(parsed(text)))
        again = st.builds("(?:{}){}".format, some, st.sampled_from(["*", "+", "{1,2}"]))
        return st.one_of(choice.map("({})".format), again, st.builds("{}{}".format, inner, inner))

    return st.recursive(atom, larger, max_leaves=5)


def slow_and_plain(expression: str, text: str, max_length: int) -> str:
    """Replace the leftmost longest matches, asking `re` about each piece of the text."""
    pieces, at = [], 0
    while at < len(text):
        for end in range(min(len(text), at + max_length), at, -1):
            exactly = rf"(?:{expression})(?=[\s\S]{{{len(text) - end}}}\Z)"
            if re.compile(exactly, re.MULTILINE).match(text, at):
                pieces.append("#")
                at = end
                break
        else:
            pieces.append(text[at])
            at += 1
    return "".join(pieces)


@settings(max_examples=400, deadline=None)
@given(
    expressions().filter(lambda text: not can_be_empty(parsed(text))),
    st.text("ab- \n_", max_size=9),
    st.integers(1, 6),
)
def test_patterns_mean_what_they_mean_to_re(expression, text, max_length) -> None:
    """Judged by Python's own engine, which is asked for every piece of a short text."""
    rules = Rules([Rule("x", expression, "#")])
    assert shown(rules, list(text), max_length) == slow_and_plain(expression, text, max_length)


@given(expressions())
def test_what_may_be_empty_is_known(expression) -> None:
    """A pattern that matches nothing would put a placeholder between all characters."""
    texts = ("", "a", "\n", "-", "ab", "a-", "\na", "a\n", "-\n", "\n\n")
    places = [(text, at) for text in texts for at in range(len(text) + 1)]
    empty = any(
        re.compile(rf"(?:{expression})(?=[\s\S]{{{len(text) - at}}}\Z)", re.MULTILINE).match(
            text, at
        )
        for text, at in places
    )
    assert can_be_empty(parsed(expression)) or not empty


@given(st.text("ab@.1-+ \n", max_size=400), st.integers(1, 40))
def test_never_more_than_the_longest_match_is_held_back(text, max_length) -> None:
    """A reader waits for a word, not for the answer."""
    rules = Rules([Rule("x", r"[ab@.]+-", "")])
    redactor = Redactor(rules, max_length=max_length)
    given_out = ""
    for at, char in enumerate(text, start=1):
        given_out += redactor.feed(char)
        shortest = shown(rules, [text[:at]], max_length)
        assert len(shortest) - len(given_out) <= max_length


def test_prose_is_shown_word_by_word() -> None:
    """Only the word that is being written might become an address."""
    redactor = Redactor(KNOWN, max_length=256)
    assert redactor.feed("The capital of Fr") == "The capital of "
    assert redactor.feed("ance is ") == "France is "
    assert redactor.feed("Paris. ") == "Paris. "
    assert redactor.finish() == ""


class Counting(Automaton):
    """Counts the characters that are read."""

    steps = 0

    def step(self, state, char):
        self.steps += 1
        return super().step(state, char)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 4000, "a@" * 2000, "a.a@a." * 700, "1 " * 2000, "0" * 4000, "+1 " * 1300, "-" * 4000,
        "eyJ" * 1300, "-----BEGIN PRIVATE KEY-----" * 150, "4111 " * 800,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "expression", [r"(?:a|a)*b", r"(?:(?:a+)+)+!", r"(?:.*a){9}x", r"\d+\d+\d+-"]
)
def test_time_is_linear_on_hostile_text(text, expression) -> None:
    """Characters are counted, not seconds: each is read at most once for each place before it."""
    rules = Rules([*KNOWN.rules, Rule("x", expression, "#")])
    rules.matcher = counting = Counting([parsed(rule.expression) for rule in rules.rules])
    shown(rules, [text], max_length=64)
    assert counting.steps <= len(text) * 66


def test_states_are_forgotten_before_they_fill_the_memory() -> None:
    """Every character of Unicode in a stream, and more states than are kept."""
    rules = Rules([Rule("x", "(?:a|b)*a(?:a|b){12}!", "#")])
    text = "".join(f"{n:b}".replace("0", "a").replace("1", "b") for n in range(3000))
    letters = "".join(map(chr, range(0x100, 0x3000)))
    assert shown(rules, [text + letters], 64) == text + letters


def test_a_match_longer_than_allowed_is_replaced_in_pieces() -> None:
    """Nothing of it is shown."""
    assert filtered(Redact, {"patterns": {"x": r"\S+"}}, ["a" * 600 + " b"]) == ("[x][x][x] [x]")
