"""Which stages may be at work at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ovrecipe.build.admission import Turns

GB = 10**9


def never() -> bool:
    return False


def starts_now(turns: Turns, size_bytes: int | None) -> bool:
    """Return whether a stage gets its turn without waiting for another to end."""
    asked = iter([False])
    with ExitStack() as stack:
        try:
            stack.enter_context(turns.taken(size_bytes, lambda: next(asked, True)))
        except KeyboardInterrupt:
            return False
        return True


def test_a_light_stage_never_waits() -> None:
    """Converting a tokenizer beside an export costs a fifth of a gigabyte."""
    turns = Turns(available=lambda: 1 * GB)
    with turns.taken(5 * GB, never):
        assert starts_now(turns, None)


def test_one_heavy_stage_alone_always_starts() -> None:
    """Its own estimate was judged before; here it would only wait for ever."""
    assert starts_now(Turns(available=lambda: 1 * GB), 50 * GB)


@pytest.mark.parametrize(("size_bytes", "starts"), [(3 * GB, True), (5 * GB, False)])
def test_heavy_stages_run_side_by_side_while_they_fit(size_bytes: int, starts: bool) -> None:
    """Eight gigabytes of ten may be planned with."""
    turns = Turns(available=lambda: 10 * GB)
    with turns.taken(4 * GB, never):
        assert starts_now(turns, size_bytes) is starts


def test_a_waiting_stage_starts_when_the_other_ends() -> None:
    """Nobody has to ask twice."""
    turns = Turns(available=lambda: 1 * GB)
    waits, started = threading.Event(), threading.Event()

    def waiting() -> bool:
        waits.set()
        return False

    def wait_for_turn() -> None:
        with turns.taken(GB, waiting):
            started.set()

    with ThreadPoolExecutor() as pool:
        with turns.taken(GB, never):
            turn = pool.submit(wait_for_turn)
            waits.wait()
            assert not started.is_set()
        turn.result()
    assert started.is_set()
