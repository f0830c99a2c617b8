"""What memory there is, and which stages may be at work at the same time."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from ovrecipe.build.memory import MemoryBudget, container_available_bytes, oom_kills

GB = 10**9


def never() -> bool:
    return False


def unexpected() -> None:
    raise AssertionError("there is room")


def starts_now(budget: MemoryBudget, size_bytes: int) -> bool:
    """Return whether a stage starts without waiting for another to end; waiting is told of."""
    told: list[str] = []
    with ExitStack() as stack:
        reserved = budget.reserved(
            size_bytes, cancelled=lambda: bool(told), waiting=lambda: told.append("waiting")
        )
        try:
            stack.enter_context(reserved)
        except KeyboardInterrupt:
            assert told == ["waiting"]
            return False
        return not told


def test_a_light_stage_never_waits() -> None:
    """Converting a tokenizer beside an export costs a fifth of a gigabyte."""
    budget = MemoryBudget(available=lambda: 1 * GB)
    with budget.reserved(5 * GB, cancelled=never, waiting=unexpected):
        assert starts_now(budget, 0)


def test_one_heavy_stage_alone_always_starts() -> None:
    """Its own estimate was judged before; here it would only wait for ever."""
    assert starts_now(MemoryBudget(available=lambda: 1 * GB), 50 * GB)


@pytest.mark.parametrize(("size_bytes", "starts"), [(3 * GB, True), (5 * GB, False)])
def test_heavy_stages_run_side_by_side_while_they_fit(size_bytes: int, starts: bool) -> None:
    """Eight gigabytes of ten may be planned with."""
    budget = MemoryBudget(available=lambda: 10 * GB)
    with budget.reserved(4 * GB, cancelled=never, waiting=unexpected):
        assert starts_now(budget, size_bytes) is starts


def test_a_waiting_stage_starts_when_the_other_ends() -> None:
    """Nobody has to ask twice."""
    budget = MemoryBudget(available=lambda: 1 * GB)
    waiting, started = threading.Event(), threading.Event()

    def wait_for_turn() -> None:
        with budget.reserved(GB, cancelled=never, waiting=waiting.set):
            started.set()

    with budget.reserved(GB, cancelled=never, waiting=unexpected):
        thread = threading.Thread(target=wait_for_turn)
        thread.start()
        assert waiting.wait(10)
        assert not started.is_set()
    assert started.wait(10)
    thread.join()


def test_a_light_stage_at_work_leaves_all_memory_to_the_first_heavy_one() -> None:
    """Nothing was planned with until then."""
    budget = MemoryBudget(available=lambda: 10 * GB)
    with budget.reserved(0, cancelled=never, waiting=unexpected):
        assert starts_now(budget, 50 * GB)
        with budget.reserved(4 * GB, cancelled=never, waiting=unexpected):
            assert starts_now(budget, 3 * GB)


def test_a_container_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    """`max` means none."""
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("5\n", encoding="ascii")
    assert container_available_bytes(tmp_path) is None


def test_a_containers_cached_pages_count_as_free(tmp_path: Path) -> None:
    """Mapped model files fill them, and they make room."""
    (tmp_path / "memory.max").write_text("1000\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("900\n", encoding="ascii")
    stat = "anon 100\nactive_file 300\ninactive_file 400\n"
    (tmp_path / "memory.stat").write_text(stat, encoding="ascii")
    assert container_available_bytes(tmp_path) == 800


def test_processes_that_the_kernel_killed_for_memory_are_counted(tmp_path: Path) -> None:
    """The counter tells a kill for want of memory from one by a person."""
    vmstat = tmp_path / "vmstat"
    assert oom_kills(vmstat) == 0
    vmstat.write_text("pgfault 12\noom_kill 3\noom_kill_other 9\n", encoding="ascii")
    assert oom_kills(vmstat) == 3
