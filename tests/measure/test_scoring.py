"""What tasks ask of a model, on models of which every probability is known."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GateError, RunError
from ovrecipe.measure.reference import log_softmax
from ovrecipe.measure.scoring import Scorer
from tests.measure.bigrams import some_table, write_bigrams

TABLE = some_table(3)
KNOWN = log_softmax(TABLE)


class Letters:
    """A tokenizer: a letter, a token; `a` is 1. Spaces stick to the letter behind them."""

    begin, end = 0, frozenset({26})

    def plain(self, text: str) -> list[int]:
        found, space = [], 0
        for letter in text:
            if letter == " ":
                space = 26
            else:
                found.append(ord(letter) - 96 + space)
                space = 0
        return found

    def decoded(self, tokens: list[int]) -> str:
        return "".join(chr(96 + t) if t < 27 else " " + chr(70 + t) for t in tokens)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StatefulModel:
    return StatefulModel(write_bigrams(tmp_path_factory.mktemp("bigrams"), TABLE))


def scorer(model: Any, **how: Any) -> Scorer:
    return Scorer(model, Letters(), **how)  # type: ignore[arg-type]


def along(*tokens: int) -> float:
    """Return the log-probability of all tokens but the first."""
    return float(sum(KNOWN[a, b] for a, b in pairwise(tokens)))


def test_a_continuation_is_as_likely_as_its_tokens(model: StatefulModel) -> None:
    """Of the context nothing is counted."""
    found = scorer(model).likelihood("abc", "de")
    assert found.log_probability == pytest.approx(along(3, 4, 5), rel=1e-5)
    assert not found.is_greedy


def test_spaces_between_belong_to_the_continuation(model: StatefulModel) -> None:
    """`b` and ` b` are different words."""
    found = scorer(model).likelihood("a ", "b")
    assert found.log_probability == pytest.approx(along(1, 28), rel=1e-5)


def test_behind_nothing_stands_the_token_that_begins(model: StatefulModel) -> None:
    """Or the first word would have no probability."""
    assert scorer(model).likelihood("", "ab").log_probability == pytest.approx(
        along(0, 1, 2), rel=1e-5
    )


def test_the_likeliest_continuation_is_greedy(model: StatefulModel) -> None:
    """As a greedy answer would be."""
    first = next(token for token in range(1, 26) if 1 <= TABLE[token].argmax() <= 25)
    best = int(TABLE[first].argmax())
    context, other = Letters().decoded([first]), best % 25 + 1
    assert scorer(model).likelihood(context, Letters().decoded([best])).is_greedy
    assert not scorer(model).likelihood(context, Letters().decoded([other])).is_greedy
    assert not scorer(model).likelihood(context, Letters().decoded([other, best])).is_greedy


@pytest.mark.parametrize("positions", [None, 2, 3, 4, 9, 10, 11])
def test_each_token_of_a_long_text_counts_once(model: StatefulModel, positions: int | None) -> None:
    """However it is cut into windows: a bigram model sees the same before each token."""
    text = "hekladefgab"
    expected = along(0, *Letters().plain(text))
    assert scorer(model, positions=positions).rolling(text) == pytest.approx(expected, rel=1e-5)


def test_a_context_beyond_the_positions_is_cut_at_its_beginning(model: StatefulModel) -> None:
    """The continuation is what counts."""
    found = scorer(model, positions=3).likelihood("hekladefg", "ab")
    assert found.log_probability == pytest.approx(along(7, 1, 2), rel=1e-5)


def greedy(first: int, count: int) -> list[int]:
    found = [first]
    for _ in range(count):
        found.append(int(TABLE[found[-1]].argmax()))
    return found[1:]


def test_an_answer_is_greedy_and_ends_at_a_stop(model: StatefulModel) -> None:
    """The text that ends it is left out."""
    expected = greedy(8, 6)
    whole = Letters().decoded(expected)
    assert not {26} & {*expected}
    assert scorer(model).continued("h", until=[], max_new_tokens=6) == whole
    stop = Letters().decoded(expected[3:4])
    assert scorer(model).continued("h", until=[stop], max_new_tokens=6) == whole.partition(stop)[0]


def test_an_answer_longer_than_the_positions_is_refused(model: StatefulModel) -> None:
    """The question would not be read at all."""
    with pytest.raises(RunError, match="lets the model write 8 tokens, and it has 8 positions"):
        scorer(model, positions=8).continued("h", until=[], max_new_tokens=8)


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """They would be an accuracy like any other."""
    broken = StatefulModel(write_bigrams(tmp_path, np.full_like(TABLE, np.nan)))
    with pytest.raises(GateError, match="logits are not finite"):
        scorer(broken).likelihood("a", "b")
