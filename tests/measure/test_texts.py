"""Which tokens of which texts are compared."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest

from ovrecipe.measure.encoder import pieces_of, up_to
from ovrecipe.measure.figures import Places, figures_of
from ovrecipe.measure.texts import LOGITS, Text, predicted, read


class Wide:
    """A model of a large vocabulary that says nothing, and keeps how much it was asked at once."""

    vocabulary_size = 256_000

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def forget(self) -> None:
        self.asked.clear()

    def logits(self, tokens: Any) -> Any:
        self.asked.append(tokens.shape)
        return np.broadcast_to(tokens[..., None], (*tokens.shape, self.vocabulary_size))


@pytest.mark.parametrize("rows", [1, 4])
def test_logits_in_memory_are_bounded(rows: int) -> None:
    """However long a text and large a vocabulary."""
    model = Wide()
    tokens = np.arange(rows * 300).reshape(rows, 300)
    starts = [start for start, _ in read(model, tokens)]  # type: ignore[arg-type]
    assert max(batch * places for batch, places in model.asked) <= LOGITS / model.vocabulary_size
    assert sum(places for _, places in model.asked) == 300
    assert starts == list(range(0, 300, model.asked[0][1]))


@pytest.mark.parametrize("start", [1, 2, 31, 32, 33, 34, 99])
def test_each_token_is_predicted_at_the_place_before_it(start: int) -> None:
    """Wherever a text is cut for reading."""
    text = Text(np.arange(100), start, 0)
    found = {
        token: int(logits[0])
        for _, part, rows in predicted(Wide(), [text])  # type: ignore[arg-type]
        for token, logits in zip(text.following[part].tolist(), rows, strict=True)
    }
    assert found == {token: token - 1 for token in range(start, 100)}


def test_a_text_is_cut_into_pieces_that_begin_alike() -> None:
    """A token that the tokenizer puts in front is in front of each; none is lost."""
    ids = [9, *range(10, 1100)]
    with_begin, without = list(pieces_of(ids, begin=9)), list(pieces_of(ids, begin=3))
    assert [len(piece) for piece in with_begin] == [512, 512, 69]
    assert [piece[0] for piece in with_begin] == [9, 9, 9]
    assert list(chain(*(piece[1:] for piece in with_begin))) == ids[1:]
    assert list(chain(*without)) == ids


def test_pieces_are_taken_until_there_are_enough_tokens() -> None:
    """A piece's first token is predicted by nothing, and a lone one predicts nothing."""
    taken: list[int] = []

    def pieces() -> Any:
        for length in (5, 1, 4, 50, 50):
            taken.append(length)
            yield list(range(length))

    assert [len(piece) for piece in up_to(20, pieces())] == [5, 4, 14]
    assert taken == [5, 1, 4, 50]


def test_texts_of_a_group_do_not_make_a_figure_surer() -> None:
    """Four copies of a text are one observation."""
    random = np.random.default_rng(0)
    texts = [
        Places(random.random(9), np.ones(9, np.bool_), random.random(9), random.random(9))
        for _ in range(6)
    ]
    once = figures_of(texts, range(6))
    again = figures_of(texts * 4, [*range(6)] * 4)
    assert again.mean_kl_error == pytest.approx(once.mean_kl_error, rel=1e-9)
    assert again.perplexity_ratio_error == pytest.approx(once.perplexity_ratio_error, rel=1e-9)
    means = np.array([text.divergence.mean() for text in texts])
    assert once.mean_kl_error == pytest.approx(means.std(ddof=1) / np.sqrt(6), rel=1e-9)


def test_a_single_text_has_no_standard_error() -> None:
    """One observation says nothing of the spread; JSON leaves it out."""
    text = Places(np.ones(4), np.ones(4, np.bool_), np.arange(4.0), np.ones(4))
    assert "mean_kl_error" not in figures_of([text], [0]).facts()
