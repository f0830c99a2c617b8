"""What is asked of points within the limits: a longer text of the winner, and how fast they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrecipe.build.tuning.bounds import Candidate, Found, fastest, ruled_out
from ovrecipe.build.tuning.points import Point
from ovrecipe.build.tuning.search import Finals, Results
from tests.tune.making import Kl, candidates, confirmed, measured, point, points, speed
from tests.tune.test_search import GRID, MadeTrials, monotone, search

WEIGHTS = st.tuples(*[st.floats(0.001, 0.5)] * 3)


@dataclass
class Longer:
    """Confirms points by a divergence of their own; notes which were asked for."""

    mean_kl: Kl
    limit: float
    asked: list[str] = field(default_factory=list)

    def __call__(self, one: Found) -> Found:
        self.asked.append(one.point.name)
        return confirmed(one, self.mean_kl(one.point), limit=self.limit)


@dataclass
class Clock:
    """Times points by a function; notes which it was given."""

    tokens_a_second: Kl
    timed: list[str] = field(default_factory=list)

    def __call__(self, found: Sequence[Found]) -> tuple[list[Found], dict[str, str]]:
        self.timed += [one.point.name for one in found]
        return [replace(one, speed=speed(self.tokens_a_second(one.point))) for one in found], {}


def chosen(results: Results) -> Point:
    assert results.chosen is not None
    assert results.chosen.is_within
    return results.chosen.point


def test_the_winner_alone_is_compared_along_the_longer_text() -> None:
    """It takes many times as long as what every build compares."""
    longer = Longer(monotone, limit=0.35)
    results = search(MadeTrials(monotone, candidates(points(**GRID)), limit=0.35), Finals(longer))
    assert longer.asked == [chosen(results).name]
    assert [one for one in results.found if one.longer] == [results.chosen]


def test_what_the_longer_text_refutes_reopens_the_search() -> None:
    """Settings that were not smaller than it can win again; those coarser than it cannot."""
    trials = MadeTrials(monotone, candidates(points(**GRID)), limit=0.35)
    first = chosen(search(trials))
    longer = Longer(lambda one: 0.355 if one == first else 0.3, limit=0.35)
    trials = MadeTrials(monotone, candidates(points(**GRID)), limit=0.35)
    results = search(trials, Finals(longer))
    assert longer.asked == [first.name, chosen(results).name]
    assert len(trials.measured) == len({*trials.measured})
    reasons = results.not_measured.values()
    assert not any(reason.startswith(f"not smaller than {first.name}") for reason in reasons)
    refuted = next(one for one in results.found if one.point == first)
    assert [str(one) for one in refuted.exceeded] == ["mean_kl is 0.355, at most 0.35 is accepted"]
    [coarser] = candidates([point(group_size=-1, ratio=1.0, sym=True)])
    assert ruled_out(coarser, [refuted]) == (
        f"coarser than {first.name}, which is beyond the limits"
    )


@settings(deadline=None)
@given(WEIGHTS, WEIGHTS, st.floats(0.01, 2))
def test_the_winner_keeps_the_limits_along_both_texts(
    check: tuple[float, float, float], longer: tuple[float, float, float], limit: float
) -> None:
    """It is the smallest that does, as measuring everything along both would find."""
    found = candidates(points(**GRID))
    both = [
        one
        for one in found
        if max(monotone(one.point, check), monotone(one.point, longer)) <= limit
    ]
    results = search(
        MadeTrials(lambda one: monotone(one, check), found, limit=limit),
        Finals(Longer(lambda one: monotone(one, longer), limit=limit)),
    )
    if not both:
        assert results.chosen is None
    else:
        assert results.chosen is not None
        smallest = min(one.estimated_bytes for one in both)
        assert results.chosen.candidate.estimated_bytes == smallest


def test_a_point_that_cannot_be_compared_is_left_out_alone() -> None:
    """Others with the same corrections are measured all the same."""
    found = candidates(points(**GRID, awq=(True,)))

    def confirm(one: Found) -> Found | str:
        is_first = not reasons
        reasons.append(one.point.name)
        return "the logits are not finite" if is_first else confirmed(one)

    reasons: list[str] = []
    results = search(MadeTrials(monotone, found, limit=0.35), Finals(confirm))
    assert results.impossible == {reasons[0]: "the logits are not finite"}
    assert chosen(results).name == reasons[1]


def cost(one: Point) -> float:
    """Time a token that grows with the share of INT4 and with groups, as on no real machine."""
    return 100 * float(one.knobs["ratio"]) + float(one.knobs["group_size"]) / 10


def test_the_fastest_within_the_limits_wins() -> None:
    """What is beyond them is not timed, and size rules nothing out."""
    trials = MadeTrials(monotone, candidates(points(**GRID)), limit=0.35)
    clock = Clock(lambda one: 1000 / cost(one))
    results = search(trials, Finals(confirmed, clock))
    within = {one.point.name for one in trials.candidates if monotone(one.point) <= 0.35}
    assert {*clock.timed} == within
    assert len(clock.timed) == len(within)
    assert chosen(results) == point(group_size=-1, ratio=0.4, sym=False)
    assert {reason.split()[0] for reason in results.not_measured.values()} == {"coarser"}


def test_the_fastest_that_the_longer_text_refutes_gives_way_to_the_next() -> None:
    """Limits go before speed."""
    trials = MadeTrials(monotone, candidates(points(**GRID)), limit=0.35)
    clock = Clock(lambda one: 1000 / cost(one))
    first = point(group_size=-1, ratio=0.4, sym=False)
    longer = Longer(lambda one: 0.4 if one == first else 0.3, limit=0.35)
    results = search(trials, Finals(longer, clock))
    assert longer.asked == [first.name, chosen(results).name]
    assert clock.timed.count(first.name) == 1


def test_corrections_are_not_tried_where_speed_counts_and_the_limits_are_kept() -> None:
    """They change values, not what is computed."""
    plain, mended = (point(group_size=64, awq=awq) for awq in (False, True))
    [candidate] = candidates([mended])
    within, beyond = measured(plain, 0.05), measured(plain, 0.105)
    assert ruled_out(candidate, [within], by_speed=True) == (
        f"no faster than {plain.name}, which is within the limits"
    )
    assert ruled_out(candidate, [beyond], by_speed=True) is None
    [other] = candidates([point(group_size=32, awq=True)])
    assert ruled_out(other, [within], by_speed=True) is None


def timed(*tokens_a_second: float, size_bytes: int = 1000, mean_kl: float = 0.05) -> Found:
    """Return a made-up point of that size and speed."""
    one = measured(point(group_size=size_bytes), mean_kl)
    named = Candidate(one.point, size_bytes)
    return replace(one, candidate=named, size_bytes=size_bytes, speed=speed(*tokens_a_second))


@pytest.mark.parametrize(
    ("larger", "expected"),
    [
        ((100, 101, 102), [900, 1000]),
        ((103, 110, 117), [900, 1000]),
        ((118, 120, 121), [1000]),
        ((80, 82, 84), [900]),
    ],
)
def test_of_those_as_fast_within_noise_the_smaller_goes_first(
    larger: tuple[float, ...], expected: list[int]
) -> None:
    """A difference that the next run may turn around is none."""
    small = timed(99, 100, 101, size_bytes=900)
    assert [one.size_bytes for one in fastest([timed(*larger), small])] == expected


def test_a_point_that_was_behind_does_not_win_by_its_few_runs() -> None:
    """Nor one beyond the limits, nor one that was never timed."""
    noisy = timed(80, 100, 120)
    behind = timed(70, size_bytes=900)
    beyond = timed(150, 150, 150, mean_kl=0.5)
    assert fastest([behind, beyond, measured(point(), 0.01), noisy]) == [noisy]
    assert fastest([beyond]) == []
