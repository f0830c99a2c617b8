"""Which points are measured: those that can still win (`tune`), or all of them (`sweep`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovrecipe.build.tuning.bounds import (
    Candidate,
    Found,
    fastest,
    most_telling,
    ruled_out,
    smallest,
)

if TYPE_CHECKING:
    from ovrecipe.build.events import Watch
    from ovrecipe.build.tuning.points import Point
    from ovrecipe.build.tuning.trials import Trials


@dataclass
class Results:
    """What a search found out: figures in the order in which they came, and reasons by name."""

    found: list[Found] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)
    #: Points that could not be measured.
    failed: list[Point] = field(default_factory=list)
    #: Why points within the limits were timed less often than others.
    timed_less: dict[str, str] = field(default_factory=dict)
    #: What came last: figures, or why there are none.
    last: Found | str | None = None
    #: What won.
    chosen: Found | None = None

    def take(self, candidate: Candidate, result: Found | str) -> None:
        """Keep what came of a point."""
        self.last = result
        if isinstance(result, Found):
            self.found.append(result)
        else:
            self.failed.append(candidate.point)
            self.impossible[candidate.point.name] = result

    def confirm(self, winner: Found, result: Found | str) -> None:
        """Keep what a longer text says of a point in place of what was known of it."""
        self.found.remove(winner)
        self.last = result
        if isinstance(result, Found):
            self.found.append(result)
        else:
            self.impossible[winner.point.name] = result


@dataclass(frozen=True)
class Finals:
    """What is asked of points that are within the limits.

    `confirmed` compares the one that would win along a longer text, and says why it cannot be.
    `timed` adds the speed of points, and says why some were timed less often; with it the fastest
    wins, not the smallest.
    """

    confirmed: Callable[[Found], Found | str]
    timed: Callable[[Sequence[Found]], tuple[list[Found], dict[str, str]]] | None = None

    def winner(self, results: Results) -> Found | None:
        """Return what wins as far as is known; None where nothing is within the limits."""
        if self.timed is None:
            return smallest(results.found)
        within = [one for one in results.found if one.is_within]
        if not within:
            return None
        timed, results.timed_less = self.timed(within)
        results.found = [one for one in results.found if not one.is_within] + timed
        return next(iter(fastest(timed)), None)


#: Is told after each point, with the number of points that are still to be looked at.
Tell = Callable[[Results, int], None]


def swept(trials: Trials, *, watch: Watch, tell: Tell) -> Results:
    """Measure every point, the smallest first.

    Raises:
        OvrecipeError: what every point needs cannot be made.
        KeyboardInterrupt: Ctrl-C; what was measured is in the store.
    """
    results = Results(impossible={**trials.impossible})
    remaining = list(trials.candidates)
    while remaining:
        batch, remaining = remaining[: trials.at_once], remaining[trials.at_once :]
        _measure(trials, batch, results, left=len(remaining), watch=watch, tell=tell)
    return results


def tuned(trials: Trials, finals: Finals, *, watch: Watch, tell: Tell) -> Results:
    """Measure points until none is left that could win; what wins is confirmed on a longer text.

    Where the longer text refutes it, the search goes on without it.

    Raises:
        OvrecipeError: what every point needs cannot be made.
        KeyboardInterrupt: Ctrl-C; what was measured is in the store.
    """
    results = Results(impossible={**trials.impossible})
    while True:
        _measure_open(trials, results, by_speed=finals.timed is not None, watch=watch, tell=tell)
        winner = finals.winner(results)
        if winner is None:
            return results
        result = finals.confirmed(winner)
        results.confirm(winner, result)
        tell(results, 0)
        if isinstance(result, Found) and result.is_within:
            results.chosen = result
            return results


def _measure_open(
    trials: Trials, results: Results, *, by_speed: bool, watch: Watch, tell: Tell
) -> None:
    """Measure what can still win, until nothing is left of it."""
    results.not_measured.clear()
    known_names = {one.point.name for one in results.found} | {*results.impossible}
    others = [one for one in trials.candidates if one.point.name not in known_names]
    # What was measured before costs nothing, and may settle the rest: all of it is read first.
    known = [candidate for candidate in others if trials.is_measured(candidate)]
    remaining = [candidate for candidate in others if candidate not in known]
    for candidate in known:
        _measure(trials, [candidate], results, left=len(remaining), watch=watch, tell=tell)
    while remaining := _still_open(remaining, results, by_speed=by_speed):
        batch = most_telling(remaining, trials.at_once)
        remaining = [one for one in remaining if one not in batch]
        _measure(trials, batch, results, left=len(remaining), watch=watch, tell=tell)


def _measure(
    trials: Trials,
    batch: Sequence[Candidate],
    results: Results,
    *,
    left: int,
    watch: Watch,
    tell: Tell,
) -> None:
    """Measure points side by side, and tell of each."""
    for candidate, result in zip(batch, trials.measure(batch, watch), strict=True):
        results.take(candidate, result)
        tell(results, left)


def _still_open(remaining: list[Candidate], results: Results, *, by_speed: bool) -> list[Candidate]:
    """Return the points that can still win; the others go to the results with their reasons."""
    still: list[Candidate] = []
    for candidate in remaining:
        reason = ruled_out(candidate, results.found, results.failed, by_speed=by_speed)
        if reason is None:
            still.append(candidate)
        else:
            results.not_measured[candidate.point.name] = reason
    return still
