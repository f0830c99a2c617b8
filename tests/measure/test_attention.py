"""Which attention of GenAI answers as the source does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.measure.attention import Heard, greedy, lost_window, window_of
from ovrecipe.measure.reference import Reference

#: Three tokens; after two that were read the source goes on with 1 and 1, at 60 %.
LIKELY = np.log(np.array([0.6, 0.3, 0.1], np.float32))


class Opened:
    """Answers what it was told to."""

    def __init__(self, *told: list[int]) -> None:
        self.told = told

    def answers(self, rows: Any, max_new_tokens: int, *, ignore_eos: bool) -> list[list[int]]:
        assert rows.shape == (2, 2)
        assert ignore_eos
        return [each[:max_new_tokens] for each in self.told]


def reference(*, second: float = 0.3) -> Reference:
    """Return what a source said of two rows of four tokens; `second` is how likely the next is."""
    top = np.tile(np.log(np.array([0.6, second, 0.1], np.float32)), (2, 3, 1))
    return Reference(
        tokens=np.array([[0, 2, 1, 1], [2, 0, 1, 1]]),
        top_ids=np.tile(np.array([1, 2, 0], np.int32), (2, 3, 1)),
        top=top,
        chosen=np.array([[-1.0, LIKELY[0], LIKELY[0]], [-2.0, LIKELY[0], LIKELY[0]]], np.float32),
        prompt_tokens=2,
        by="a test",
    )


def test_greedy_answers_are_counted_up_to_the_first_that_differs() -> None:
    """Behind it the model reads other tokens than the source did."""
    heard = greedy(Opened([1, 1], [2, 1]), reference())  # type: ignore[arg-type]
    assert heard == Heard(agreed=2, asked=4)
    assert not heard.is_right
    assert str(heard) == "2 of 4 greedy tokens like the source's"


def test_a_tie_of_the_source_may_fall_either_way() -> None:
    """Two orders of the same sums choose differently where both tokens are as likely."""
    heard = greedy(Opened([1, 1], [2, 0]), reference(second=0.5999))  # type: ignore[arg-type]
    assert heard.is_right


def test_log_probabilities_that_are_far_off_are_not_right_with_the_same_tokens() -> None:
    """Untrained models repeat themselves whatever they attend to."""
    heard = Heard(agreed=4, asked=4, gap=0.3)
    assert not heard.is_right
    assert str(heard) == "4 of 4 greedy tokens like the source's, log-probabilities 0.3 off"


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({}, None),
        ({"sliding_window": None}, None),
        ({"sliding_window": 4096}, 4096),
        ({"sliding_window": 4096, "use_sliding_window": False}, None),
        ({"sliding_window": 512, "layer_types": ["full_attention"]}, None),
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}, 512),
        ({"window_size": 256, "attention_types": [[["global", "local"], 6]]}, 256),
        ({"window_size": 256, "attention_types": [[["global"], 12]]}, None),
    ],
)
def test_the_window_of_a_model_is_read_from_its_config(
    config: dict[str, Any], window: int | None
) -> None:
    """Families call it differently, and many name a window that no layer has."""
    assert window_of(config) == window


@pytest.mark.parametrize(
    ("config", "lost"),
    [
        (
            {"attention_chunk_size": 8192},
            "has no chunks of attention, which this model has beyond 8192 tokens",
        ),
        ({"attention_chunk_size": 16, "sliding_window": 16}, None),
        ({}, None),
    ],
)
def test_chunks_beyond_the_texts_that_were_read_are_lost(
    tmp_path: Path, config: dict[str, Any], lost: str | None
) -> None:
    """Texts as long as real chunks would cost minutes; what is shorter was measured."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert lost_window(tmp_path, 48) == lost
