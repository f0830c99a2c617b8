"""One run: exact numbers of tokens, prompts that no cache knows, warm-up that does not count."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations

import pytest

from ovrecipe.errors import RecipeNotFound, RunError
from ovrecipe.measure.engines import Times, check_count, times_of
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import Subject
from ovrecipe.measure.timing import figures_of, timed


class RecordingEngine:
    """Remembers what it is asked; each answer takes a millisecond more than the one before."""

    load_time_ms = 7.0
    vocabulary = 1000

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int]] = []
        self.batches: list[tuple[int, int]] = []

    def answer(self, prompt: Sequence[int], new_tokens: int) -> Times:
        self.asked.append((list(prompt), new_tokens))
        return Times(len(self.asked), len(self.asked) / 10)

    def throughput(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> float | None:
        self.batches.append((len(prompts), new_tokens))
        return None if len(prompts) > 1 else 50.0


def measured(settings: Settings, *, seed: int = 0) -> tuple[dict[str, float], RecordingEngine]:
    engine = RecordingEngine()
    return figures_of(engine, settings, seed=seed, progress=lambda *_, **__: None), engine


def test_prompts_have_exactly_as_many_tokens_as_asked_for() -> None:
    """Otherwise two tools would be compared at two tasks."""
    found, engine = measured(Settings((8, 64), (), 16, warm_up=0))
    assert [(len(prompt), new) for prompt, new in engine.asked] == [(8, 16), (64, 16)]
    assert all(0 <= token < engine.vocabulary for prompt, _ in engine.asked for token in prompt)
    assert found.pop("peak_memory_bytes") > 1e6
    assert found == {
        "load_time_ms": 7.0,
        "ttft_ms@8": 1, "tpot_ms@8": 0.1, "ttft_ms@64": 2, "tpot_ms@64": 0.2,
    }  # fmt: skip


def test_warming_up_does_not_count() -> None:
    """The first answer after loading is ten times as slow as the second."""
    found, engine = measured(Settings((8,), (), 16, warm_up=2))
    assert [new for _, new in engine.asked] == [2, 2, 16]
    assert found["ttft_ms@8"] == 3


def test_no_prompt_begins_as_another() -> None:
    """GenAI remembers prompts it has read, and would find the first token at once."""
    _, engine = measured(Settings((8, 64), (), 16, warm_up=2))
    prompts = [prompt for prompt, _ in engine.asked]
    assert all(one[:4] != other[:4] for one, other in combinations(prompts, 2))


def test_every_model_gets_the_same_prompts_in_a_round() -> None:
    """And others in the next."""
    settings = Settings((8,), (), 16, warm_up=1)
    first, second, next_round = (measured(settings, seed=seed)[1].asked for seed in (3, 3, 4))
    assert first == second != next_round


def test_an_engine_without_batches_has_no_figure_for_them() -> None:
    """A figure that cannot be known is not made up."""
    found, engine = measured(Settings((8,), (1, 4), 16, warm_up=1))
    assert engine.batches == [(1, 2), (1, 16), (4, 2), (4, 16)]
    assert found["throughput@1"] == 50.0
    assert "throughput@4" not in found


def test_times_are_from_the_question_to_the_first_token_and_between_the_others() -> None:
    """In milliseconds."""
    assert times_of([1.0, 1.5, 1.75, 2.0]) == (500.0, 250.0)


def test_an_answer_of_another_length_is_refused() -> None:
    """Fewer tokens would look faster."""
    with pytest.raises(RunError, match="64 tokens were asked for, and 63 came"):
        check_count(63, 64)


@pytest.mark.slow
def test_what_goes_wrong_in_the_process_is_raised_as_it_was_there(project, monkeypatch) -> None:
    """With the subject in front, and its own exit code."""
    monkeypatch.chdir(project.root)
    subject = Subject("nobody:int4", "a" * 64, "CPU", "ovrecipe", {})
    with pytest.raises(RecipeNotFound, match="nobody:int4 on CPU: no recipe 'nobody'") as caught:
        timed(
            subject,
            Settings((8,), (), 4, 0),
            seed=0,
            env=dict(os.environ),
            plugin_options=(),
            progress=lambda _: None,
            announce=lambda _: None,
        )
    assert caught.value.exit_code == 3
