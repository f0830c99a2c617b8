"""Figures are those of their definitions, computed another way."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from ovrecipe.errors import ArtifactCorrupt, StageError
from ovrecipe.measure.figures import chosen_log_probabilities, compared, gap
from ovrecipe.measure.reference import FILE, AnswersTaken, Reference, likeliest, log_softmax
from ovrecipe.measure.verdict import Exceeded, exceeded, limits_of
from ovrecipe.recipe.schema import Accept

VOCABULARY, LENGTH = 1500, 12


class Answers(AnswersTaken):
    """Answers to prompts that are there already."""

    prompts = [[1, 2, 3], [4, 5, 6]]  # type: ignore[assignment] # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(None, trust_remote_code=False)  # type: ignore[arg-type]


def texts(seed: int, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens, (2, LENGTH), and logits of what follows, (2, LENGTH - 1, VOCABULARY)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, (2, LENGTH - 1, VOCABULARY)).astype(np.float32)
    return random.integers(0, VOCABULARY, (2, LENGTH)), logits


def reference_of(tokens: np.ndarray, logits: np.ndarray) -> Reference:
    answers = Answers()
    for row in range(len(tokens)):
        answers.take(tokens[row], logits[row])
    found = answers.reference(by="a test")
    assert found is not None
    return found


def test_a_model_that_says_the_same_is_at_no_distance():
    """The zero of every figure."""
    tokens, logits = texts(0)
    figures = compared(reference_of(tokens, logits), logits)
    assert figures.mean_kl == pytest.approx(0, abs=1e-6)
    assert (figures.same_top, figures.tokens) == (1.0, 2 * (LENGTH - 1))
    assert figures.perplexity_ratio == pytest.approx(1, abs=1e-6)


def test_the_divergence_is_that_of_the_definition():
    """Over the kept tokens and the rest as one: a little below that over all tokens."""
    tokens, logits = texts(1)
    other = texts(2)[1] * 0.1 + logits * 0.9
    figures = compared(reference_of(tokens, logits), other)
    expected, found = (log_softmax(each.astype(np.float64)) for each in (logits, other))
    whole = (np.exp(expected) * (expected - found)).sum(-1)
    assert figures.mean_kl == pytest.approx(whole.mean(), rel=0.02)
    assert figures.mean_kl <= whole.mean() + 1e-6
    assert figures.mean_kl_error == pytest.approx(whole.std() / math.sqrt(whole.size), rel=0.05)


def test_perplexity_is_that_of_the_tokens_that_follow():
    """The ratio is e to the mean loss of log-probability."""
    tokens, logits = texts(3)
    other = logits + np.random.default_rng(4).normal(0, 0.5, logits.shape).astype(np.float32)
    reference = reference_of(tokens, logits)
    chosen = [
        np.take_along_axis(log_softmax(each), tokens[:, 1:, None], -1)[..., 0]
        for each in (logits, other)
    ]
    ratio = math.exp(float((chosen[0] - chosen[1]).mean()))
    assert compared(reference, other).perplexity_ratio == pytest.approx(ratio, rel=1e-4)
    found = chosen_log_probabilities(reference, other)
    assert found == pytest.approx(chosen[1], abs=1e-5)
    assert gap(found, chosen[0]) == pytest.approx(
        np.abs(chosen[1] - chosen[0]).mean() / chosen[0].std(), rel=1e-3
    )
    assert gap(found * math.nan, chosen[0]) == math.inf


def test_a_model_that_guesses_lacks_all_the_information_of_the_source():
    """Which makes limits fit models that are sure of little."""
    tokens, logits = texts(9)
    figures = compared(reference_of(tokens, logits), np.zeros_like(logits))
    assert figures.mean_kl == pytest.approx(figures.information, rel=0.01)
    even = compared(reference_of(tokens, np.zeros_like(logits)), logits)
    assert even.information == pytest.approx(0, abs=1e-6)


def test_one_logit_that_is_no_number_leaves_no_figure():
    """GenAI would sample from a uniform distribution and say nothing."""
    tokens, logits = texts(5)
    other = logits.copy()
    other[1, 3, 7] = math.nan
    facts = compared(reference_of(tokens, logits), other).facts()
    assert "mean_kl" not in facts
    assert "perplexity_ratio" not in facts
    assert [found.name for found in exceeded(facts, {"mean_kl": 1.0})] == ["mean_kl"]


def test_a_source_whose_logits_are_no_numbers_is_refused():
    """A checkpoint full of NaN must not become the reference."""
    tokens, logits = texts(6)
    logits[0, 0, 0] = math.inf
    with pytest.raises(StageError, match="own logits are not finite"):
        reference_of(tokens, logits)


def test_a_reference_is_read_as_it_was_written(tmp_path):
    """And of the same bytes whenever it is written."""
    reference = reference_of(*texts(7))
    reference.save(tmp_path)
    first = (tmp_path / FILE).read_bytes()
    reference.save(tmp_path)
    assert (tmp_path / FILE).read_bytes() == first
    found = Reference.load(tmp_path)
    assert (found.by, found.prompt_tokens) == ("a test", 3)
    for name in ("tokens", "top_ids", "top", "chosen"):
        assert np.array_equal(getattr(found, name), getattr(reference, name))


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda _: b"", lambda _: b"x" * 99])
def test_a_damaged_reference_is_called_so(tmp_path, damage):
    """With the command that helps."""
    reference_of(*texts(8)).save(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactCorrupt, match=FILE) as caught:
        Reference.load(tmp_path)
    assert "verify --remove" in (caught.value.remedy or "")


def test_the_likeliest_come_first():
    """Their order is that of the logits."""
    values = np.array([[0.1, 5.0, -2.0, 4.0]], np.float32)
    assert likeliest(values, 3).tolist() == [[1, 3, 0]]
    assert likeliest(values, 9).tolist() == [[1, 3, 0, 2]]


def test_the_recipe_tightens_limits_and_never_loosens_them():
    """What is broken stays refused, whatever a recipe accepts."""
    limits = partial(limits_of, information=8.0, as_run=False)
    assert limits(Accept(), "int4") == {"mean_kl": 1.6}
    assert limits(Accept(mean_kl=0.1, same_top=0.9), "int4") == {"mean_kl": 0.1, "same_top": 0.9}
    assert limits(Accept(mean_kl=50.0), "int8") == {"mean_kl": 0.16}


def test_limits_have_directions():
    """More divergence is worse, more of the same tokens is better."""
    limits = {"mean_kl": 0.1, "same_top": 0.9}
    assert [*exceeded({"mean_kl": 0.1, "same_top": 0.9}, limits)] == []
    worse = [*exceeded({"mean_kl": 0.2, "same_top": 0.8}, limits)]
    assert worse == [
        Exceeded("mean_kl", 0.2, "at most", 0.1),
        Exceeded("same_top", 0.8, "at least", 0.9),
    ]
    assert str(worse[0]) == "mean_kl is 0.2, at most 0.1 is accepted"
