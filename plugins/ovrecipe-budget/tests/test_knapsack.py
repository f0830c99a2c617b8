"""Properties of the choice, over any matrices."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovrecipe_budget.knapsack import Choice, choose, hull, smallest_bytes

choice = st.builds(
    Choice,
    size_bytes=st.integers(1, 1000),
    error=st.integers(0, 1000).map(float),
    name=st.sampled_from("abcdef"),
)
matrices = st.lists(st.lists(choice, min_size=1, max_size=5), min_size=1, max_size=6)
slack = st.integers(0, 3000)


def error_of(chosen: list[Choice]) -> float:
    return sum(one.error for one in chosen)


@given(matrices, slack)
def test_a_choice_fits_the_budget(found: list[list[Choice]], more: int) -> None:
    """What it is for."""
    budget = smallest_bytes(found) + more
    chosen = choose(found, budget)
    assert sum(one.size_bytes for one in chosen) <= budget
    assert all(one in choices for one, choices in zip(chosen, found, strict=True))


@given(matrices, slack, slack)
def test_a_larger_budget_is_never_worse(found: list[list[Choice]], one: int, other: int) -> None:
    """Nobody should have to try budgets out."""
    small, large = sorted((one, other))
    least = smallest_bytes(found)
    assert error_of(choose(found, least + large)) <= error_of(choose(found, least + small)) + 1e-6


@given(matrices)
def test_with_room_for_all_the_error_is_the_least_there_is(found: list[list[Choice]]) -> None:
    """Nothing is held back."""
    chosen = choose(found, sum(max(choices).size_bytes for choices in found))
    assert error_of(chosen) == sum(min(one.error for one in choices) for choices in found)


@given(matrices, slack)
def test_what_is_lost_to_the_best_choice_is_one_step(found: list[list[Choice]], more: int) -> None:
    """The relaxation is exact but for the step that did not fit."""
    found = found[:4]
    budget = smallest_bytes(found) + more
    fitting = [
        error_of(list(chosen))
        for chosen in itertools.product(*found)
        if sum(one.size_bytes for one in chosen) <= budget
    ]
    pairs = [pair for choices in found for pair in itertools.pairwise(hull(choices))]
    gains = [smaller.error - larger.error for smaller, larger in pairs]
    assert error_of(choose(found, budget)) <= min(fitting) + max(gains, default=0.0) + 1e-6


@given(matrices)
def test_less_than_the_smallest_is_refused(found: list[list[Choice]]) -> None:
    """Silently breaking the budget would be worse than none."""
    with pytest.raises(ValueError, match="too few"):
        choose(found, smallest_bytes(found) - 1)


def test_the_order_of_equal_steps_is_fixed() -> None:
    """The same budget gives the same file."""
    twin = [Choice(1, 4.0, "low"), Choice(3, 2.0, "high")]
    assert [one.name for one in choose([twin, twin], 4)] == ["high", "low"]
