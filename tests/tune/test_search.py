"""Which points are measured, which are not and why, and what wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrecipe.build.tuning.bounds import Candidate, Found, closest, front, ruled_out, smallest
from ovrecipe.build.tuning.points import Point
from ovrecipe.build.tuning.search import Finals, Results, swept, tuned
from tests.tune.making import Kl, candidates, confirmed, measured, point, points

GRID = {"group_size": (32, 64, 128, -1), "ratio": (1.0, 0.8, 0.6, 0.4), "sym": (False, True)}


@dataclass
class MadeTrials:
    """Trials whose figures are a function of the point; it notes what was measured."""

    mean_kl: Kl
    candidates: list[Candidate]
    limit: float = 0.1
    impossible: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    broken: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    measured: list[str] = field(default_factory=list)
    at_once: int = 1

    def is_measured(self, candidate: Candidate) -> bool:
        return candidate.point.name in self.known

    def measure(self, candidates: Sequence[Candidate], watch: Any) -> list[Found | str]:
        assert len(candidates) <= self.at_once
        return [self._measure(candidate) for candidate in candidates]

    def _measure(self, candidate: Candidate) -> Found | str:
        name = candidate.point.name
        self.measured.append(name)
        if name in self.broken:
            return self.broken[name]
        kl = self.mean_kl(candidate.point)
        return measured(candidate.point, kl, limit=self.limit, warning=self.warnings.get(name))


def search(trials: Any, finals: Finals | None = None, *, everything: bool = False) -> Results:
    how: dict[str, Any] = {"watch": lambda _: None, "tell": lambda *_: None}
    if everything:
        return swept(trials, **how)
    return tuned(trials, finals or Finals(confirmed), **how)


def monotone(one: Point, weights: tuple[float, float, float] = (0.02, 0.3, 0.05)) -> float:
    """Divergence that grows with whatever makes a point coarser."""
    by_group, by_ratio, by_sym = weights
    group_size = 1024 if one.knobs["group_size"] == -1 else one.knobs["group_size"]
    kl = (
        by_ratio * one.knobs["ratio"] + by_group * math.log2(group_size) + by_sym * one.knobs["sym"]
    )
    return kl * (0.8 if one.corrections else 1.0)


@settings(deadline=None)
@given(
    st.tuples(*[st.floats(0.001, 0.5)] * 3),
    st.floats(0.01, 2),
    st.sampled_from([(False,), (False, True)]),
    st.integers(1, 3),
)
def test_the_winner_is_the_one_that_measuring_everything_finds(
    weights: tuple[float, float, float], limit: float, awq: tuple[bool, ...], at_once: int
) -> None:
    """Where coarser points are worse, nothing that was left out could have won."""
    found = candidates(points(**GRID, awq=awq))

    def kl(one: Point) -> float:
        return monotone(one, weights)

    trials = MadeTrials(kl, found, limit=limit, at_once=at_once)
    all_of_them = smallest(search(MadeTrials(kl, found, limit=limit), everything=True).found)
    best = smallest(search(trials).found)
    assert (best and best.size_bytes) == (all_of_them and all_of_them.size_bytes)
    assert len(trials.measured) == len({*trials.measured})


def test_most_points_are_not_measured_and_each_has_its_reason() -> None:
    """A point takes seconds to minutes; the reason names what settled it."""
    trials = MadeTrials(monotone, candidates(points(**GRID)), limit=0.35)
    results = search(trials)
    assert len(trials.measured) <= 10
    assert {*results.not_measured} == {one.point.name for one in trials.candidates} - {
        *trials.measured
    }
    best = smallest(results.found)
    assert best is not None
    reasons = set(results.not_measured.values())
    assert f"not smaller than {best.point.name}, which is within the limits" in reasons
    assert any(reason.startswith("coarser than int4-") for reason in reasons)


def test_points_that_are_measured_side_by_side_need_fewer_turns() -> None:
    """Two cores measure two points in little more than the time of one."""
    turns = {1: 0, 2: 0}
    for at_once in turns:
        for limit in (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5):
            trials = MadeTrials(monotone, candidates(points(**GRID)), limit=limit, at_once=at_once)
            search(trials)
            turns[at_once] += -(-len(trials.measured) // at_once)
    assert turns[2] < 0.8 * turns[1]


def test_what_was_measured_before_is_read_first() -> None:
    """An interrupted search goes on: its figures cost nothing and may settle the rest."""
    found = candidates(points(**GRID))
    swept_before = found[5].point.name
    trials = MadeTrials(monotone, found, limit=0.35, known={swept_before})
    search(trials)
    assert trials.measured[0] == swept_before


def test_a_search_that_goes_on_measures_nothing_that_was_ruled_out_before() -> None:
    """All that is known is read first: also what is beaten by now has ruled others out."""
    found = candidates(points(**GRID, awq=(False, True)))
    whole = MadeTrials(monotone, found, limit=0.35)
    search(whole)
    for number in range(len(whole.measured)):
        rest = MadeTrials(monotone, found, limit=0.35, known={*whole.measured[:number]})
        search(rest)
        assert {*rest.measured} <= {*whole.measured}, number


def test_a_correction_that_failed_is_not_tried_again() -> None:
    """It takes longest, and matches nothing in all of this model's settings."""
    found = candidates(points(**GRID, awq=(False, True)))
    broken = {one.point.name: "awq: matched nothing" for one in found if one.point.corrections}
    trials = MadeTrials(monotone, found, limit=0.3, broken=broken)
    results = search(trials)
    assert len(results.impossible) == 1
    assert f"awq failed for {next(iter(results.impossible))}" in results.not_measured.values()


def test_a_point_that_fails_is_named_and_the_search_goes_on() -> None:
    """NNCF refuses some points only when it is at work."""
    found = candidates(points(**GRID))
    whole = smallest(search(MadeTrials(monotone, found, limit=0.35)).found)
    assert whole is not None
    broken = {whole.point.name: "NNCF does not like it"}
    results = search(MadeTrials(monotone, found, limit=0.35, broken=broken))
    assert results.impossible == broken
    other = smallest(results.found)
    assert other is not None
    assert other.point != whole.point


def test_when_nothing_is_within_the_limits_the_closest_was_measured() -> None:
    """What was left out is coarser than what was measured."""
    results = search(MadeTrials(monotone, candidates(points(**GRID)), limit=0.01))
    assert smallest(results.found) is None
    assert closest(results.found).point.name == "int4-asym-g32-r0.4"


def test_what_misses_a_limit_by_chance_settles_nothing_coarser() -> None:
    """Figures have errors: a coarser setting may be within the limits by as little."""
    [coarser] = candidates([point(group_size=64)])
    finer = point(group_size=32)
    assert ruled_out(coarser, [measured(finer, 0.105)]) is None
    assert ruled_out(coarser, [measured(finer, 0.115)]) == (
        f"coarser than {finer.name}, which is beyond the limits"
    )


@pytest.mark.parametrize(
    ("figures", "limits", "certain"),
    [
        ({"mean_kl": 0.12, "mean_kl_error": 0.01}, {"mean_kl": 0.1}, True),
        ({"mean_kl": 0.12, "mean_kl_error": 0.03}, {"mean_kl": 0.1}, False),
        (
            {"perplexity_ratio": 1.2, "perplexity_ratio_error": 0.2},
            {"perplexity_ratio": 1.1},
            False,
        ),
        ({"same_top": 0.89, "tokens": 188}, {"same_top": 0.9}, False),
        ({"same_top": 0.80, "tokens": 188}, {"same_top": 0.9}, True),
        ({"size_ratio": 0.41}, {"size_ratio": 0.4}, True),
        ({}, {"mean_kl": 0.1}, True),
    ],
)
def test_a_limit_is_certainly_missed_by_more_than_the_error(
    figures: dict[str, Any], limits: dict[str, float], certain: bool
) -> None:
    """Of a share the error follows from how many places there were."""
    from ovrecipe.measure.verdict import exceeded

    one = Found(candidates([point()])[0], 1, figures, tuple(exceeded(figures, limits)))
    assert not one.is_within
    assert one.is_certainly_beyond is certain


def test_corrections_are_not_tried_far_beyond_a_limit() -> None:
    """They lower the divergence by a part; the reason has the figure."""
    plain = point(group_size=64, ratio=1.0)
    for kl, expected in ((0.15, False), (0.45, True)):
        for group_size in (64, 128):
            mended = point(group_size=group_size, ratio=1.0, awq=True)
            [candidate] = candidates([mended])
            reason = ruled_out(candidate, [measured(plain, kl)])
            assert bool(reason) == expected
            if reason:
                assert reason == f"awq cannot mend what is 4.5 times a limit, as {plain.name} is"


def test_awq_that_matches_nothing_is_tried_once() -> None:
    """The weights are those of the point without it."""
    first, second = (point(group_size=64, ratio=ratio, awq=True) for ratio in (1.0, 0.8))
    [candidate] = candidates([second])
    failed = measured(first, 0.15, warning="awq matched no layer of this model")
    assert ruled_out(candidate, [failed]) == f"awq failed for {first.name}"
    other = measured(first, 0.15, warning="something else")
    assert ruled_out(candidate, [other]) is None
    assert ruled_out(candidate, [], [first]) == f"awq failed for {first.name}"
    [other_mending] = candidates([point(group_size=64, scale_estimation=True)])
    assert ruled_out(other_mending, [], [first]) is None
    [plain] = candidates([point(group_size=64)])
    assert ruled_out(plain, [], [point(group_size=32)]) is None


def test_a_sweep_measures_everything_the_smallest_first() -> None:
    """Whoever lists points wants their figures."""
    trials = MadeTrials(monotone, candidates(points(**GRID)))
    results = search(trials, everything=True)
    assert trials.measured == [one.point.name for one in trials.candidates]
    assert len(results.found) == 32


def test_the_front_has_what_no_other_point_beats() -> None:
    """Neither in size nor in divergence."""
    small, middle, large = (point(group_size=64, ratio=ratio) for ratio in (1.0, 0.8, 0.6))
    figures = [measured(small, 0.3), measured(middle, 0.4), measured(large, 0.1)]
    assert [one.point for one in front(figures)] == [small, large]


@pytest.mark.parametrize("missing", [True, False])
def test_a_figure_that_is_no_number_is_beyond_every_limit(missing: bool) -> None:
    """A manifest leaves it out, and JSON has no NaN."""
    from ovrecipe.measure.verdict import exceeded

    quality = {"mean_kl_error": 0.1} if missing else {"mean_kl": 0.05}
    found = tuple(exceeded(quality, {"mean_kl": 0.1}))
    one = Found(candidates([point()])[0], 1, quality, found)
    assert one.is_within is not missing
    assert (one.excess == math.inf) is missing
