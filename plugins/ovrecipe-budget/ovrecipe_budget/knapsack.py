"""The choice of one precision for each matrix: the sizes fit together, and little error is made.

A multiple-choice knapsack, solved greedily along each matrix's lower convex hull of error over
size: the solution of the Lagrangian relaxation, filled up with the steps that still fit. Steps
are tried in one fixed order, which makes it monotone: a larger budget takes the first step at
which the two differ, and everything that the smaller one can still take weighs less than that.

Source: Sinha and Zoltners, "The Multiple-Choice Knapsack Problem", Operations Research 27 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Choice:
    """One precision of one matrix: what it takes, and what error it makes."""

    size_bytes: int
    error: float
    name: str


@dataclass(frozen=True)
class _Step:
    """From one choice of a matrix to the next larger one."""

    matrix: int
    number: int
    cost_bytes: int
    gain: float

    @property
    def rank(self) -> tuple[float, int, int]:
        """Most gain per byte first; ties by place, so that the order is always the same."""
        return (-self.gain / self.cost_bytes, self.matrix, self.number)


def smallest_bytes(matrices: Sequence[Sequence[Choice]]) -> int:
    """Return the size below which no choice fits."""
    return sum(min(choices).size_bytes for choices in matrices)


def choose(matrices: Sequence[Sequence[Choice]], budget_bytes: int) -> list[Choice]:
    """Return one choice for each matrix.

    Raises:
        ValueError: even the smallest choices do not fit.
    """
    left = budget_bytes - smallest_bytes(matrices)
    if left < 0:
        raise ValueError(f"{budget_bytes} bytes are too few")
    hulls = [hull(choices) for choices in matrices]
    taken = [0] * len(hulls)
    steps = [step for index, choices in enumerate(hulls) for step in _steps(index, choices)]
    for step in sorted(steps, key=lambda step: step.rank):
        if step.cost_bytes <= left and taken[step.matrix] == step.number - 1:
            taken[step.matrix] = step.number
            left -= step.cost_bytes
    return [choices[number] for choices, number in zip(hulls, taken, strict=True)]


def hull(choices: Sequence[Choice]) -> list[Choice]:
    """Return the choices on the lower convex hull, by size; the first is the smallest."""
    kept: list[Choice] = []
    for choice in sorted(choices):
        if kept and choice.error >= kept[-1].error:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-1], choice):
            kept.pop()
        kept.append(choice)
    return kept


def _slope(smaller: Choice, larger: Choice) -> float:
    """Return the error saved per byte."""
    return (smaller.error - larger.error) / (larger.size_bytes - smaller.size_bytes)


def _steps(matrix: int, choices: Sequence[Choice]) -> list[_Step]:
    return [
        _Step(
            matrix,
            number,
            cost_bytes=choices[number].size_bytes - choices[number - 1].size_bytes,
            gain=choices[number - 1].error - choices[number].error,
        )
        for number in range(1, len(choices))
    ]
