"""What was measured is kept run by run, and only what is missing is measured."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ovrecipe.errors import ProjectError
from ovrecipe.measure.history import History, opened
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import Subject
from ovrecipe.measure.turns import Turn, missing_turns, take_turns

SETTINGS = Settings((32,), (1,), 64, 1)
INT4 = Subject("tiny:int4", "a" * 64, "CPU", "ovrecipe", {"openvino": "1"})
INT8 = replace(INT4, target="tiny:int8", artifact="b" * 64)


Open = Callable[..., AbstractContextManager[History]]


@pytest.fixture
def history(tmp_path: Path) -> Open:
    """Open the history of one machine; again and again it is the same file."""
    return partial(opened, tmp_path / "bench.sqlite", "a machine")


def run_all(
    history: History, turns: list[Turn], measure: Callable[[Turn], Mapping[str, float]]
) -> list[str]:
    return [t.subject.target for t in take_turns(turns, SETTINGS, history=history, measure=measure)]


def ten(_: Turn) -> dict[str, float]:
    return {"ttft_ms@32": 10.0}


def test_subjects_take_turns(history: Open) -> None:
    """What slows the machine for a while slows all of them, and no comparison."""
    with history() as kept:
        turns = missing_turns([INT4, INT8], SETTINGS, repeats=2, history=kept)
        assert run_all(kept, turns, ten) == ["tiny:int4", "tiny:int8"] * 2
        assert [turn.seed for turn in turns] == [0, 0, 1, 1]


def test_ctrl_c_keeps_what_is_done_and_the_next_call_goes_on(history: Open) -> None:
    """Half an hour of measuring is not lost for an impatient minute."""
    asked: list[Turn] = []

    def impatient(turn: Turn) -> dict[str, float]:
        asked.append(turn)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return ten(turn)

    with pytest.raises(KeyboardInterrupt, match=r"^$"), history() as kept:  # noqa: PT012
        turns = missing_turns([INT4, INT8], SETTINGS, repeats=3, history=kept)
        run_all(kept, turns, impatient)
    with history() as kept:
        left = missing_turns([INT4, INT8], SETTINGS, repeats=3, history=kept)
        assert run_all(kept, left, ten) == ["tiny:int8", "tiny:int4", "tiny:int8"]
        assert missing_turns([INT4, INT8], SETTINGS, repeats=3, history=kept) == []
        assert len(kept.current(INT8, SETTINGS).runs) == 3


def test_again_begins_a_series_that_can_be_gone_on_with(history: Open) -> None:
    """The runs before are the record to compare with, not a part of the new median."""
    with history() as kept:
        run_all(kept, missing_turns([INT4], SETTINGS, repeats=2, history=kept), ten)
        anew = missing_turns([INT4], SETTINGS, repeats=2, history=kept, again=True)
        assert run_all(kept, anew[:1], lambda _: {"ttft_ms@32": 20.0}) == ["tiny:int4"]
        assert kept.current(INT4, SETTINGS).runs == [{"ttft_ms@32": 20.0}]
        assert [series.runs for series in kept.earlier(INT4, SETTINGS)] == [
            [{"ttft_ms@32": 10.0}] * 2
        ]
        assert len(missing_turns([INT4], SETTINGS, repeats=2, history=kept)) == 1


@pytest.mark.parametrize(
    "other",
    [replace(INT4, artifact="c" * 64), replace(INT4, versions={"openvino": "2"})],
    ids=["artifact", "version"],
)
def test_what_changed_is_measured_and_compared_with_the_record_before(
    history: Open, other: Subject
) -> None:
    """That is what the history is for: a new build, or an upgrade."""
    with history() as kept:
        run_all(kept, missing_turns([INT4], SETTINGS, repeats=1, history=kept), ten)
        assert len(missing_turns([other], SETTINGS, repeats=1, history=kept)) == 1
        assert kept.current(other, SETTINGS).runs == ()
        [before] = kept.earlier(other, SETTINGS)
        assert before.versions == INT4.versions


@pytest.mark.parametrize("what", ["machine", "device", "engine", "settings"])
def test_what_cannot_be_compared_is_no_record(tmp_path: Path, what: str) -> None:
    """Another machine is not slower software."""
    path = tmp_path / "bench.sqlite"
    with opened(path, "a machine") as kept:
        run_all(kept, missing_turns([INT4], SETTINGS, repeats=1, history=kept), ten)
    subject = replace(INT4, **{what: "other"}) if what in ("device", "engine") else INT4
    settings = replace(SETTINGS, new_tokens=8) if what == "settings" else SETTINGS
    with opened(path, "other" if what == "machine" else "a machine") as kept:
        assert kept.current(subject, settings).runs == ()
        assert kept.earlier(subject, settings) == []


def test_a_file_that_is_no_history_is_named(tmp_path: Path) -> None:
    """And left as it is."""
    path = tmp_path / "bench.sqlite"
    path.write_text("no database, but longer than the sixteen bytes that SQLite looks at first")
    with (
        pytest.raises(ProjectError, match=r"bench\.sqlite: the history .* cannot be used"),
        opened(path, "a machine"),
    ):
        pass
    assert path.read_text().startswith("no database")


def test_a_history_of_a_newer_ovrecipe_asks_for_an_upgrade(tmp_path: Path) -> None:
    """It is not damaged."""
    path = tmp_path / "bench.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(ProjectError, match="newer ovrecipe") as caught, opened(path, "a machine"):
        pass
    assert caught.value.remedy == "upgrade ovrecipe"
