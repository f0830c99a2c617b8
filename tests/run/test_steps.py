"""The IR by itself, token by token: what it answers, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GenerationParameterRefused, RunError
from ovrecipe.run.detokenizing import StopTexts
from ovrecipe.run.load import check_batches
from ovrecipe.run.pipeline import Ended
from ovrecipe.run.sampling import Sampler
from ovrecipe.run.steps import StepsPipeline
from tests.measure.bigrams import write_bigrams, write_places, write_sums

#: a is followed by b, b by c, and so on; z, the last, ends an answer.
LETTERS = "abcdefghijklmnopqrstuvwxyz"
EOS = len(LETTERS) - 1
ALPHABET = np.roll(np.eye(len(LETTERS), dtype=np.float32), 1, axis=1) * 8


class Letters:
    """A tokenizer of letters; the last of them is a control token, which has no text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        ids = np.array([[LETTERS.index(letter) for letter in text]])
        return SimpleNamespace(input_ids=SimpleNamespace(data=ids))

    def decode(self, rows: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(LETTERS[token] for token in row if token != EOS) for row in rows]

    def get_bos_token_id(self) -> int:
        return -1

    def get_eos_token_id(self) -> int:
        return EOS


def opened(folder: Path, **own: Any) -> StepsPipeline:
    """Return the pipeline of an IR whose generation config says what `own` does."""
    from openvino_genai import GenerationConfig

    model = StatefulModel(folder)
    return StepsPipeline(model, Letters(), "CPU", lambda: GenerationConfig(**own), 5.0)


@pytest.fixture(scope="module")
def alphabet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The IR that says the alphabet."""
    return write_bigrams(tmp_path_factory.mktemp("alphabet"), ALPHABET)


@pytest.fixture(scope="module")
def pipeline(alphabet_dir: Path) -> StepsPipeline:
    """The pipeline of the alphabet."""
    return opened(alphabet_dir)


def answered(pipeline: StepsPipeline, prompt: str, **parameters: Any) -> tuple[str, Ended]:
    """Return the text of an answer and how it ended."""
    said: list[str] = []

    def on_text(text: str) -> bool:
        said.append(text)
        return True

    tokens = pipeline.encode(prompt, add_special_tokens=False)
    ended = pipeline.generate(tokens, pipeline.configure(parameters), on_text)
    return "".join(said), ended


@pytest.mark.parametrize(
    ("parameters", "text", "reason", "count", "by_the_model"),
    [
        ({}, "uvwxy", "stop", 6, True),
        ({"max_new_tokens": 3}, "uvw", "length", 3, False),
        ({"max_new_tokens": 6}, "uvwxy", "stop", 6, True),
        ({"stop_token_ids": [22]}, "uvw", "stop", 3, True),
        ({"stop_strings": ["xy"]}, "uvw", "stop", 5, False),
        (
            {"stop_strings": ["wx", "w"], "include_stop_str_in_output": True},
            "uvw",
            "stop",
            3,
            False,
        ),
        ({"max_new_tokens": 4, "stop_strings": ["xyz"]}, "uvwx", "length", 4, False),
        ({"max_new_tokens": 8, "ignore_eos": True}, "uvwxyab", "length", 8, False),
    ],
)
def test_an_answer_ends_where_it_was_told_to(
    pipeline: StepsPipeline,
    parameters: dict[str, Any],
    text: str,
    reason: str,
    count: int,
    by_the_model: bool,
) -> None:
    """By the model's own end, a limit or a text; what may begin a stop text waits for it."""
    said, ended = answered(pipeline, "rst", **parameters)
    assert (said, ended.finish_reason, ended.generated_tokens) == (text, reason, count)
    assert ended.by_the_model == by_the_model
    assert ended.metrics.load_time_ms == 5.0
    assert ended.metrics.tpot_ms is not None


def test_the_model_may_not_end_before_the_least_length(pipeline: StepsPipeline) -> None:
    """Its end is forbidden until then, and what is likeliest beside it comes."""
    _, ended = answered(pipeline, "x", min_new_tokens=4, max_new_tokens=9)
    assert ended.generated_tokens >= 4
    _, ended = answered(pipeline, "x", max_new_tokens=9)
    assert ended.generated_tokens == 2


def test_each_answer_begins_anew(tmp_path: Path) -> None:
    """The states of the one before are no part of it."""
    pipeline = opened(write_sums(tmp_path, ALPHABET))
    assert answered(pipeline, "bc", max_new_tokens=2)[0] == "ei"
    assert answered(pipeline, "bc", max_new_tokens=2)[0] == "ei"


def test_a_recurrent_model_reads_its_prompt_token_by_token(tmp_path: Path) -> None:
    """Several at once are wrong with it, and so is any other mask or place."""
    folder = write_places(tmp_path, ALPHABET)
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba"}), encoding="utf-8")
    assert answered(opened(folder), "abc", max_new_tokens=4)[0] == "defg"
    model = StatefulModel(folder)
    assert model.logits([[0, 1, 2]]).argmax(-1).tolist() == [[1, 2, 3]]


def test_nobody_waits_for_a_prompt_that_nobody_wants_answered(tmp_path: Path) -> None:
    """Reading a long one takes as long as writing it."""
    folder = write_places(tmp_path, ALPHABET)
    (folder / "config.json").write_text(json.dumps({"model_type": "mamba"}), encoding="utf-8")
    heard: list[str] = []

    def on_text(text: str) -> bool:
        heard.append(text)
        return len(heard) < 3

    pipeline = opened(folder)
    tokens = pipeline.encode("abcdefgh", add_special_tokens=False)
    ended = pipeline.generate(tokens, pipeline.configure({}), on_text)
    assert (ended.finish_reason, ended.generated_tokens, heard) == ("cancelled", 0, [""] * 3)


def test_an_answer_is_cancelled_between_two_tokens(pipeline: StepsPipeline) -> None:
    """As soon as the reader says so."""
    tokens = pipeline.encode("a", add_special_tokens=False)
    ended = pipeline.generate(tokens, pipeline.configure({}), lambda text: text != "c")
    assert (ended.finish_reason, ended.generated_tokens) == ("cancelled", 2)


def test_logits_that_are_no_numbers_are_no_answer(tmp_path: Path) -> None:
    """The first token of the vocabulary would be said for ever."""
    broken = opened(write_bigrams(tmp_path, np.full_like(ALPHABET, np.nan)))
    with pytest.raises(RunError, match="the model's logits are no numbers"):
        answered(broken, "a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 2),
        ("presence_penalty", 0.5),
        ("frequency_penalty", 0.5),
        ("echo", True),
        ("no_repeat_ngram_size", 3),
    ],
)
def test_what_only_genai_does_is_refused_by_name(
    alphabet_dir: Path, pipeline: StepsPipeline, name: str, value: object
) -> None:
    """Asked for or the artifact's own; a parameter that is taken and ignored answers otherwise."""
    said = f"^{name}: OpenVINO GenAI runs this model wrongly.* {name} is not done"
    with pytest.raises(GenerationParameterRefused, match=said):
        pipeline.configure({"max_new_tokens": 9, name: value})
    with pytest.raises(GenerationParameterRefused, match=said):
        opened(alphabet_dir, max_new_tokens=9, **{name: value}).configure({})


def test_forms_and_adapters_are_refused(pipeline: StepsPipeline) -> None:
    """They are GenAI's pipelines' own."""
    with pytest.raises(GenerationParameterRefused, match=r"^regex: .* regex is not done"):
        pipeline.configure({"regex": "a+"})
    with pytest.raises(GenerationParameterRefused, match="adapter: the model has no 'poet'"):
        pipeline.configure({"adapter": "poet"})
    assert pipeline.configure({"adapter": ""}) is not None


def test_a_model_that_genai_computes_wrongly_answers_no_batches() -> None:
    """Its build found it so."""
    wrong: Any = SimpleNamespace(attention_backend=lambda: "steps")
    with pytest.raises(RunError, match=r"mamba:int4: can answer one prompt at a time only.*GenAI"):
        check_batches("mamba:int4", wrong)


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_pieces_change_nothing_of_where_a_text_stops(text: str, stops: list[str]) -> None:
    """What is shown letter by letter is what one look at the whole would show."""
    one = StopTexts(stops, included=False)
    shown = ""
    for number, letter in enumerate(text, start=1):
        shown += one.take(letter, last=number == len(text))
        if one.found:
            break
    ends = [text[:end] for end in range(len(text) + 1) if text[:end].endswith(tuple(stops))]
    if not ends:
        assert shown == text
        return
    cut = min(len(ends[0]) - len(stop) for stop in stops if ends[0].endswith(stop))
    assert shown == text[:cut]


def config(**given: Any) -> Any:
    """Return a generation config that samples."""
    from openvino_genai import GenerationConfig

    return GenerationConfig(**{"do_sample": True, "rng_seed": 7, **given})


LIKELY = np.log(np.array([0.5, 0.25, 0.15, 0.1]))


def drawn(count: int, **given: Any) -> list[int]:
    """Return tokens of the same distribution."""
    sampler = Sampler(config(**given), (), ())
    return [sampler.next(LIKELY) for _ in range(count)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 2}, {0, 1}),
        ({"top_p": 0.75}, {0, 1}),
        ({"top_p": 0.76}, {0, 1, 2}),
        ({"top_p": 0.01}, {0}),
        ({"min_p": 0.29}, {0, 1, 2}),
        ({"temperature": 0.01}, {0}),
        ({"do_sample": False}, {0}),
    ],
)
def test_only_what_parameters_leave_is_drawn(given: dict[str, Any], kept: set[int]) -> None:
    """And all of it."""
    assert set(drawn(400, **given)) == kept


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """With a temperature of 2 as the roots of their probabilities."""
    for temperature in (1.0, 2.0):
        shares = np.exp(LIKELY / temperature)
        expected = shares / shares.sum()
        found = np.bincount(drawn(20_000, temperature=temperature), minlength=4) / 20_000
        assert np.abs(found - expected).max() < 0.02


def test_the_same_seed_draws_the_same() -> None:
    """And another one something else."""
    assert drawn(40) == drawn(40)
    assert drawn(40) != drawn(40, rng_seed=8)


def test_what_was_said_or_asked_is_less_likely_with_a_penalty() -> None:
    """As GenAI and transformers have it: positive logits are divided, negative ones multiplied."""
    sampler = Sampler(config(do_sample=False, repetition_penalty=2.0), (), [0])
    logits = np.array([4.0, 3.0, 2.5, -1.0])
    assert [sampler.next(logits) for _ in range(2)] == [1, 2]
    sampler = Sampler(config(do_sample=False, repetition_penalty=2.0), (), [0])
    assert sampler.next(np.array([-1.0, -1.5, -9.0])) == 1
