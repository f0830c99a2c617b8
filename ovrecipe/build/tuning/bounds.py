"""What is known of points before they are measured: which can still win, and which to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.measure.speed import Figure, Summary, change
from ovrecipe.measure.verdict import AT_MOST, Exceeded

if TYPE_CHECKING:
    from ovrecipe.build.tuning.points import Point

#: Beyond so many times a limit, AWQ and scale estimation are not expected to bring a point within.
MENDABLE = 2.0
#: What the compressor says of a correction that did nothing.
NO_LAYER = "matched no layer"
#: Tokens a second of one answer, between its tokens.
SPEED = Figure("throughput", 1)


@dataclass(frozen=True)
class Candidate:
    """A point that can be built, and the size of its weights as shapes tell it."""

    point: Point
    estimated_bytes: int


@dataclass(frozen=True)
class Found:
    """A candidate that was measured; `exceeded` are the limits that it does not keep.

    `quality` are the figures of the build's own check, `longer` those over a longer text, where it
    was compared along one, and `speed` tokens a second, where it was timed.
    """

    candidate: Candidate
    size_bytes: int
    quality: Mapping[str, Any]
    exceeded: tuple[Exceeded, ...]
    warning: str | None = None
    longer: Mapping[str, Any] | None = None
    speed: Summary | None = None

    @property
    def point(self) -> Point:
        """The point that was measured."""
        return self.candidate.point

    @property
    def is_within(self) -> bool:
        """Whether all limits are kept."""
        return not self.exceeded

    @property
    def judged(self) -> Mapping[str, Any]:
        """The figures that say the most: along a longer text, if it was compared along one."""
        return self.quality if self.longer is None else self.longer

    @property
    def is_certainly_beyond(self) -> bool:
        """Whether a limit is missed by more than the figure's standard error."""
        return any(
            one.figure is None or abs(one.figure - one.limit) > error_of(one.name, self.judged)
            for one in self.exceeded
        )

    @property
    def excess(self) -> float:
        """How many times the limit the worst figure is; 1 or less where all are kept."""
        return max((excess_of(one) for one in self.exceeded), default=0.0)


def error_of(name: str, quality: Mapping[str, Any]) -> float:
    """Return the standard error of a figure; a size has none."""
    if name == "same_top" and quality.get("tokens"):
        share = quality["same_top"]
        return math.sqrt(share * (1 - share) / quality["tokens"])
    return float(quality.get(f"{name}_error", 0.0))


def excess_of(exceeded: Exceeded) -> float:
    """Return how many times its limit a figure is; of a share, how many times what is missing."""
    if exceeded.figure is None:
        return math.inf
    if exceeded.direction == AT_MOST:
        return exceeded.figure / exceeded.limit
    return (1 - exceeded.figure) / max(1 - exceeded.limit, 1e-9)


def smallest(found: Sequence[Found]) -> Found | None:
    """Return the smallest measured point within the limits; of equals the closest to its source."""
    within = [one for one in found if one.is_within]
    return min(within, key=lambda one: (one.size_bytes, one.quality["mean_kl"]), default=None)


def fastest(found: Sequence[Found]) -> list[Found]:
    """Return the points within the limits that none beats in speed beyond noise, by size.

    What was timed less often than others was behind already.
    """
    timed = [(one, one.speed) for one in found if one.is_within and one.speed is not None]
    if not timed:
        return []
    most = max(len(speed.samples) for _, speed in timed)
    running = [(one, speed) for one, speed in timed if len(speed.samples) == most]
    best = max((speed for _, speed in running), key=lambda speed: speed.median)
    equals = [one for one, speed in running if not change(SPEED, speed, best).verdict]
    return sorted(equals, key=lambda one: (one.size_bytes, one.quality["mean_kl"]))


def closest(found: Sequence[Found]) -> Found:
    """Return the measured point that misses the limits by least."""
    return min(found, key=lambda one: (one.excess, one.size_bytes))


def front(found: Sequence[Found]) -> list[Found]:
    """Return the points that no other one beats in both size and divergence, by size."""
    best, kept = math.inf, []
    for one in sorted(
        found, key=lambda one: (one.size_bytes, one.quality.get("mean_kl", math.inf))
    ):
        kl = one.quality.get("mean_kl", math.inf)
        if kl < best:
            best = kl
            kept.append(one)
    return kept


def ruled_out(
    candidate: Candidate,
    found: Sequence[Found],
    failed: Sequence[Point] = (),
    *,
    by_speed: bool = False,
) -> str | None:
    """Return why a point cannot win any more; None while it can.

    It would not be smaller than what is within the limits (where the fastest wins: it is the same
    with a correction, which leaves the speed as it is), or it is coarser than what is beyond
    them, so far beyond that no correction mends it; or a correction does nothing to this model.
    """
    point = candidate.point
    if reason := _beaten(candidate, [one for one in found if one.is_within], by_speed=by_speed):
        return reason
    for beyond in (one for one in found if not one.is_within):
        if beyond.is_certainly_beyond and point.is_coarser_than(beyond.point):
            return f"coarser than {beyond.point.name}, which is beyond the limits"
        if _is_hopeless(point, beyond):
            named = " and ".join(point.corrections)
            far = f"{beyond.excess:.1f} times a limit"
            return f"{named} cannot mend what is {far}, as {beyond.point.name} is"
    idle = [*failed, *(one.point for one in found if NO_LAYER in (one.warning or ""))]
    for one in idle if point.corrections else ():
        if one.corrections == point.corrections:
            return f"{' and '.join(point.corrections)} failed for {one.name}"
    return None


def _beaten(candidate: Candidate, within: Sequence[Found], *, by_speed: bool) -> str | None:
    """Return which point within the limits a point cannot be better than."""
    point, best = candidate.point, smallest(within)
    if by_speed:
        for plain in within if point.corrections else ():
            if not plain.point.corrections and _differ_in_corrections(point, plain.point):
                return f"no faster than {plain.point.name}, which is within the limits"
    elif best and candidate.estimated_bytes >= best.candidate.estimated_bytes:
        return f"not smaller than {best.point.name}, which is within the limits"
    return None


def _is_hopeless(point: Point, beyond: Found) -> bool:
    """Return whether corrections would have to mend too much of a point without them."""
    if not point.corrections or beyond.point.corrections or beyond.excess <= MENDABLE:
        return False
    return _differ_in_corrections(point, beyond.point) or point.is_coarser_than(
        beyond.point, corrected=True
    )


def _differ_in_corrections(point: Point, plain: Point) -> bool:
    """Return whether a point is another one, which has no corrections, with some of its own."""
    ignored = dict.fromkeys(point.corrections)
    return {**point.knobs, **ignored} == {**plain.knobs, **ignored}


def most_telling(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """Return up to so many points to be measured side by side.

    The first is the one whose figures settle most of the others, whichever way they turn out:
    within the limits it settles what is not smaller, beyond them what is coarser. The next one is
    the same among those that the first leaves open in the worse case. Points without corrections
    come first: they take less, and settle what corrections could still mend.
    """
    plain = [one for one in candidates if not one.point.corrections]
    remaining = plain or list(candidates)
    chosen: list[Candidate] = []
    while remaining and len(chosen) < count:
        best = max(remaining, key=lambda one: _settled(one, remaining))
        chosen.append(best)
        remaining = max(_left_open(best, remaining), key=len)
    return chosen


def _left_open(one: Candidate, others: Sequence[Candidate]) -> tuple[list[Candidate], ...]:
    """Return which others may still win when a point is within the limits, and when it is not."""
    smaller = [other for other in others if other.estimated_bytes < one.estimated_bytes]
    finer = [
        other for other in others if other != one and not other.point.is_coarser_than(one.point)
    ]
    return smaller, finer


def _settled(one: Candidate, others: Sequence[Candidate]) -> tuple[int, int]:
    """Return how many points the figures of one settle at least; of equals, the smaller one."""
    left = max(len(still) for still in _left_open(one, others))
    return len(others) - left, -one.estimated_bytes
