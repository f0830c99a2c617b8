"""Which stages may be at work at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ovrecipe.build.memory import MemoryBudget

GB = 10**9


def never() -> bool:
    return False


def starts_now(budget: MemoryBudget, size_bytes: int | None) -> bool:
    """Return whether a stage gets its turn without waiting for another to end."""
    asked = iter([False])
    with ExitStack() as stack:
        try:
            stack.enter_context(budget.reserved(size_bytes, cancelled=lambda: next(asked, True)))
        except KeyboardInterrupt:
            return False
        return True


def test_a_light_stage_never_waits() -> None:
    """Converting a tokenizer beside an export costs a fifth of a gigabyte."""
    budget = MemoryBudget(available=lambda: 1 * GB)
    with budget.reserved(5 * GB, cancelled=never):
        assert starts_now(budget, None)


def test_one_heavy_stage_alone_always_starts() -> None:
    """Its own estimate was judged before; here it would only wait for ever."""
    assert starts_now(MemoryBudget(available=lambda: 1 * GB), 50 * GB)


@pytest.mark.parametrize(("size_bytes", "starts"), [(3 * GB, True), (5 * GB, False)])
def test_heavy_stages_run_side_by_side_while_they_fit(size_bytes: int, starts: bool) -> None:
    """Eight gigabytes of ten may be planned with."""
    budget = MemoryBudget(available=lambda: 10 * GB)
    with budget.reserved(4 * GB, cancelled=never):
        assert starts_now(budget, size_bytes) is starts


def test_a_waiting_stage_starts_when_the_other_ends() -> None:
    """Nobody has to ask twice."""
    budget = MemoryBudget(available=lambda: 1 * GB)
    waits, started = threading.Event(), threading.Event()

    def waiting() -> bool:
        waits.set()
        return False

    def wait_for_turn() -> None:
        with budget.reserved(GB, cancelled=waiting):
            started.set()

    with ThreadPoolExecutor() as pool:
        with budget.reserved(GB, cancelled=never):
            turn = pool.submit(wait_for_turn)
            waits.wait()
            assert not started.is_set()
        turn.result()
    assert started.is_set()
