"""A variant's figures are those of their definitions, and the source is asked once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GateError, StoreError
from ovrecipe.measure.evaluation import Evaluation, Source, evaluated
from ovrecipe.measure.reference import log_softmax
from ovrecipe.measure.texts import ANSWERS, Given, Written
from tests.measure.bigrams import some_table, write_bigrams, write_sums

PROMPTS = ((1, 2, 3), (4, 5), (6, 7, 8))
ASKED = Written(PROMPTS, new_tokens=20, end=frozenset({0}))


class Counted:
    """Opens a model and counts what it was asked."""

    def __init__(self, folder: Path, *, stops_at: int = 10**9) -> None:
        self.opened = self.answered = 0
        self._folder, self._stops_at = folder, stops_at

    def __call__(self) -> Any:
        self.opened += 1
        model = StatefulModel(self._folder)
        forget = model.forget

        def counted() -> None:
            self.answered += 1
            if self.answered > self._stops_at:
                raise KeyboardInterrupt
            forget()

        model.forget = counted  # type: ignore[method-assign]
        return model


def source_of(tmp_path: Path, texts: Written | Given = ASKED, **how: Any) -> Source:
    opened = Counted(write_bigrams(tmp_path / "source", some_table(0)), **how)
    return Source(opened, texts, tmp_path / "cache")  # type: ignore[arg-type]


def evaluation(tmp_path: Path, table: np.ndarray, examples: int = 0) -> Evaluation:
    source = source_of(tmp_path)
    source.prepare()
    return evaluated(write_bigrams(tmp_path / "variant", table), source, examples=examples)


def test_the_source_itself_is_at_no_distance(tmp_path: Path) -> None:
    """The zero of every figure."""
    found = evaluation(tmp_path, some_table(0))
    assert found.figures.mean_kl == pytest.approx(0, abs=1e-6)
    assert found.figures.same_top == 1
    assert found.perplexity == pytest.approx(found.source_perplexity, rel=1e-6)
    assert found.first_differences == (None,) * len(PROMPTS)


def test_figures_are_those_of_their_definitions(tmp_path: Path) -> None:
    """Computed again from the tables, token by token."""
    tables = [some_table(0), some_table(0) * 0.8 + some_table(1) * 0.4]
    found = evaluation(tmp_path, tables[1])
    expected, other = (log_softmax(table.astype(np.float64)) for table in tables)
    kl = (np.exp(expected) * (expected - other)).sum(-1)
    texts = [text for text, _ in source_of(tmp_path)]
    assert len(texts) == len(PROMPTS) * ANSWERS
    pairs = [
        (before, after)
        for text in texts
        for before, after in zip(text.tokens[text.read - 1 :], text.following, strict=False)
    ]
    before, after = np.array(pairs).T
    figures = found.figures
    assert figures.tokens == len(pairs)
    assert figures.mean_kl == pytest.approx(kl[before].mean(), rel=1e-4)
    assert figures.same_top == pytest.approx(
        (expected.argmax(-1) == other.argmax(-1))[before].mean()
    )
    perplexities = [math.exp(-float(each[before, after].mean())) for each in (expected, other)]
    assert (found.source_perplexity, found.perplexity) == pytest.approx(perplexities, rel=1e-4)
    assert figures.perplexity_ratio == pytest.approx(perplexities[1] / perplexities[0], rel=1e-4)


def test_answers_are_the_models_own(tmp_path: Path) -> None:
    """The greedy one begins as the source's, and goes on alone where it differs."""
    table = some_table(0) * 0.8 + some_table(1) * 0.6
    found = evaluation(tmp_path, table, examples=len(PROMPTS))
    assert any(example.first_difference is not None for example in found.examples)
    for prompt, example in zip(PROMPTS, found.examples, strict=True):
        for answer, own in ((example.source, some_table(0)), (example.variant, table)):
            token, expected = prompt[-1], []
            while len(expected) < ASKED.new_tokens and 0 not in expected:
                token = int(own[token].argmax())
                expected.append(token)
            assert answer == expected
        pairs = zip(example.source, example.variant, strict=False)
        differs = (place for place, (one, other) in enumerate(pairs) if one != other)
        assert next(differs, None) == example.first_difference


def test_an_answer_ends_where_the_model_ends_it(tmp_path: Path) -> None:
    """What a batch writes behind the end of one row belongs to nobody."""
    source = source_of(tmp_path)
    source.prepare()
    answers = [text.following.tolist() for text, _ in source]
    assert any(len(answer) < ASKED.new_tokens for answer in answers)
    assert all(0 not in answer[:-1] for answer in answers)
    assert all(answer[-1] == 0 for answer in answers if len(answer) < ASKED.new_tokens)


def test_what_answers_begin_with_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the model can copy its state; the figures are those of reading each answer alone."""
    folder = write_sums(tmp_path / "source", some_table(0))
    other = write_sums(tmp_path / "variant", some_table(0) * 0.8 + some_table(1) * 0.4)
    read_tokens: list[int] = []
    logits = StatefulModel.logits

    def counted(self: StatefulModel, tokens: Any) -> Any:
        read_tokens.append(np.size(tokens))
        return logits(self, tokens)

    monkeypatch.setattr(StatefulModel, "logits", counted)
    found, counts = [], []
    for name, can_copy in (("together", True), ("alone", False)):
        monkeypatch.setattr(StatefulModel, "can_copy", can_copy)
        read_tokens.clear()
        source = Source(lambda: StatefulModel(folder), ASKED, tmp_path / name)
        source.prepare()
        evaluation = evaluated(other, source, examples=3)
        found.append((evaluation.figures.facts(), evaluation.first_differences))
        counts.append(sum(read_tokens))
    assert found[0] == found[1]
    assert found[0][0]["mean_kl"] > 0.01
    assert counts[0] < counts[1]


def test_the_source_is_asked_once(tmp_path: Path) -> None:
    """The next variant, and the next call, read what is kept."""
    first, second = source_of(tmp_path), source_of(tmp_path)
    first.prepare()
    second.prepare()
    assert second._open_model.opened == 0  # type: ignore[attr-defined]
    pairs = zip(first, second, strict=True)
    assert all((one.tokens == other.tokens).all() for (one, _), (other, _) in pairs)


def test_other_texts_are_asked_for_anew(tmp_path: Path) -> None:
    """Another prompt, length or end is another comparison."""
    source_of(tmp_path).prepare()
    for texts in (
        Written(PROMPTS[:2], 20, ASKED.end),
        Written(PROMPTS, 21, ASKED.end),
        Written(PROMPTS, 20, frozenset({1})),
        Given((np.array([1, 2, 3]),)),
    ):
        other = source_of(tmp_path, texts)
        other.prepare()
        assert other._open_model.opened == 1  # type: ignore[attr-defined]


def test_what_was_done_before_ctrl_c_is_kept(tmp_path: Path) -> None:
    """A text that the source has answered is not asked again."""
    per_prompt = 1 + ANSWERS
    with pytest.raises(KeyboardInterrupt):
        source_of(tmp_path, stops_at=per_prompt + 2).prepare()
    again = source_of(tmp_path)
    again.prepare()
    assert again._open_model.answered == per_prompt * (len(PROMPTS) - 1)  # type: ignore[attr-defined]


def test_what_is_damaged_is_computed_again(tmp_path: Path) -> None:
    """A cache is no artifact: nobody has to be told."""
    source = source_of(tmp_path)
    source.prepare()
    first = [kept.chosen for _, kept in source]
    [path] = tmp_path.glob("cache/*/00001.npz")
    path.write_bytes(path.read_bytes()[:100])
    source.prepare()
    assert all((one == kept.chosen).all() for one, (_, kept) in zip(first, source, strict=True))
    path.unlink()
    with pytest.raises(StoreError, match=r"00001\.npz is gone"):
        list(source)


def test_a_variant_with_nan_has_no_figures(tmp_path: Path) -> None:
    """GenAI would draw from a uniform distribution and say nothing."""
    table = some_table(0)
    table[:, 7] = math.nan
    with pytest.raises(GateError, match="the model's logits are not finite"):
        evaluation(tmp_path, table)


def test_a_source_with_nan_is_refused(tmp_path: Path) -> None:
    """Nothing can be compared with it."""
    opened = Counted(write_bigrams(tmp_path / "source", some_table(0) * math.inf))
    with pytest.raises(GateError, match="the source's own logits are not finite"):
        Source(opened, ASKED, tmp_path / "cache").prepare()  # type: ignore[arg-type]


def test_a_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    """Another model's tokenizer: the embedding has no such row."""
    texts = Given((np.array([1, 60]),))
    with pytest.raises(GateError, match="token 60, the model knows only those below 60"):
        source_of(tmp_path, texts).prepare()
