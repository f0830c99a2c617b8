"""Points are timed in turns; who is behind is not timed again, and nothing is timed twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ovrecipe.build.tuning.bounds import Found
from ovrecipe.build.tuning.racing import Race
from ovrecipe.errors import RunError
from ovrecipe.measure.history import opened
from ovrecipe.measure.subject import Subject
from ovrecipe.measure.turns import Turn
from tests.tune.making import measured, point

FOUND = [measured(point(group_size=group_size), 0.05) for group_size in (32, 64, 128)]
NAMES = tuple(one.point.name for one in FOUND)


@dataclass
class Machine:
    """Takes so many milliseconds for a token of each point; notes who had a turn."""

    milliseconds: Mapping[str, float]
    turns: list[str] = field(default_factory=list)
    stop_after: int | None = None
    broken: tuple[str, ...] = ()

    def measure(self, turn: Turn) -> dict[str, float]:
        if len(self.turns) == self.stop_after:
            raise KeyboardInterrupt
        self.turns.append(turn.subject.artifact)
        if turn.subject.artifact in self.broken:
            raise RunError("no such kernel")
        return {"tpot_ms@32": self.milliseconds[turn.subject.artifact] + turn.seed}

    def race(self, path: Path) -> tuple[list[Found], dict[str, str]]:
        """Let the points race, with the history in a file."""

        def subject_of(one: Found) -> Subject:
            return Subject("m:int4", one.point.name, "CPU", "ovrecipe", {}, "somewhere")

        with opened(path, "a machine") as history:
            return Race(subject_of, self.measure, history).run(FOUND)


def machine(*milliseconds: float) -> Machine:
    return Machine(dict(zip(NAMES, milliseconds, strict=True)))


def test_points_take_turns_and_the_median_counts(tmp_path: Path) -> None:
    """What slows the machine for a while slows all of them."""
    one = machine(10, 10.5, 11)
    found, behind = one.race(tmp_path / "bench.sqlite")
    assert one.turns == [*NAMES * 3]
    assert behind == {}
    assert tuple(each.point.name for each in found) == NAMES
    first = found[0].speed
    assert first is not None
    assert first.samples == (1000 / 10, 1000 / 11, 1000 / 12)
    assert first.median == 1000 / 11


def test_who_is_far_behind_is_not_timed_again(tmp_path: Path) -> None:
    """And it is said behind whom."""
    one = machine(10, 12, 13)
    found, behind = one.race(tmp_path / "bench.sqlite")
    assert one.turns == [*NAMES, *NAMES[:2], *NAMES[:2]]
    assert behind == {NAMES[2]: f"less than 80% as fast as {NAMES[0]}"}
    assert [len(each.speed.samples) for each in found if each.speed] == [3, 3, 1]
    again = machine(10, 12, 13)
    assert again.race(tmp_path / "bench.sqlite")[1] == behind
    assert again.turns == []


def test_who_does_not_run_there_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """An NPU has no kernels for some settings; those that it has are timed all the same."""
    one = machine(10, 10, 10)
    one.broken = NAMES[:1]
    found, behind = one.race(tmp_path / "bench.sqlite")
    assert one.turns == [*NAMES, *NAMES[1:] * 2]
    assert behind == {NAMES[0]: "does not run on CPU: no such kernel"}
    assert [each.speed is None for each in found] == [True, False, False]
    one.broken = NAMES
    with pytest.raises(RunError, match="no such kernel"):
        one.race(tmp_path / "other.sqlite")


def test_a_race_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    """Each finished run is in bench's history."""
    path = tmp_path / "bench.sqlite"
    stopped = machine(10, 10, 10)
    stopped.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        stopped.race(path)
    again, once_more = machine(10, 10, 10), machine(10, 10, 10)
    again.race(path)
    assert stopped.turns + again.turns == [*NAMES * 3]
    once_more.race(path)
    assert once_more.turns == []
