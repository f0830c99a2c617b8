"""Which points are measured: those that can still win (`tune`), or all of them (`sweep`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ovrecipe.build.tuning.bounds import Candidate, Found, most_telling, ruled_out

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
    #: What came last: figures, or why there are none.
    last: Found | str | None = None

    def take(self, candidate: Candidate, result: Found | str) -> None:
        """Keep what came of a point."""
        self.last = result
        if isinstance(result, Found):
            self.found.append(result)
        else:
            self.failed.append(candidate.point)
            self.impossible[candidate.point.name] = result


#: Is told after each point, with the number of points that are still to be looked at.
Tell = Callable[[Results, int], None]


def swept(trials: Trials, *, watch: Watch, tell: Tell) -> Results:
    """Measure every point, the smallest first.

    Raises:
        OvrecipeError: what every point needs cannot be made.
        KeyboardInterrupt: Ctrl-C; what was measured is in the store.
    """
    results = Results(impossible={**trials.impossible})
    for number, candidate in enumerate(trials.candidates, start=1):
        results.take(candidate, trials.measure(candidate, watch))
        tell(results, len(trials.candidates) - number)
    return results


def tuned(trials: Trials, *, watch: Watch, tell: Tell) -> Results:
    """Measure points until none is left that could be the smallest within the limits.

    Raises:
        OvrecipeError: what every point needs cannot be made.
        KeyboardInterrupt: Ctrl-C; what was measured is in the store.
    """
    results = Results(impossible={**trials.impossible})
    remaining = list(trials.candidates)
    while remaining:
        # What was measured before costs nothing, and may settle the rest.
        known = (candidate for candidate in remaining if trials.is_measured(candidate))
        candidate = next(known, None) or most_telling(remaining)
        results.take(candidate, trials.measure(candidate, watch))
        remaining.remove(candidate)
        remaining = _still_open(remaining, results)
        tell(results, len(remaining))
    return results


def _still_open(remaining: list[Candidate], results: Results) -> list[Candidate]:
    """Return the points that can still win; the others go to the results with their reasons."""
    still: list[Candidate] = []
    for candidate in remaining:
        reason = ruled_out(candidate, results.found, results.failed)
        if reason is None:
            still.append(candidate)
        else:
            results.not_measured[candidate.point.name] = reason
    return still
