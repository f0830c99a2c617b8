"""The machine's memory: what is available, who may plan with it, and who was killed for it."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Where a container's own limits are. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
CGROUP_DIR = Path("/sys/fs/cgroup")
#: Counts, among much else, the processes that the kernel killed for want of memory.
VMSTAT_PATH = Path("/proc/vmstat")
#: The share of the available memory that stages at work at the same time may plan with.
SHARE = 0.8
TICK = 0.1


def memory_available_bytes(cgroup_dir: Path = CGROUP_DIR) -> int:
    """Return what is available without swapping, within the container's limit if there is one."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    container = container_available_bytes(cgroup_dir)
    return machine if container is None else min(machine, container)


def container_available_bytes(cgroup_dir: Path) -> int | None:
    """Return what a container's limit leaves; cached file pages count as free.

    None outside of a container and in one without a limit.
    """
    limit, used = (_read(cgroup_dir / name).strip() for name in ("memory.max", "memory.current"))
    if not (limit.isdigit() and used.isdigit()):
        return None
    cached = re.findall(
        r"^(?:in)?active_file (\d+)$", _read(cgroup_dir / "memory.stat"), re.MULTILINE
    )
    return max(0, int(limit) - int(used) + sum(map(int, cached)))


def oom_kills(vmstat_path: Path = VMSTAT_PATH) -> int:
    """Return how many processes the kernel killed for want of memory; 0 where nobody counts."""
    counted = re.search(r"^oom_kill (\d+)$", _read(vmstat_path), re.MULTILINE)
    return int(counted.group(1)) if counted else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


class MemoryBudget:
    """Lets stages run beside each other while the estimates of the heavy ones fit into memory.

    A heavy stage alone may always run: whether it can end well was judged before.
    """

    def __init__(self, available: Callable[[], int] = memory_available_bytes) -> None:
        self._available = available
        self._changed = threading.Condition()
        self._reserved: list[int] = []
        self._budget = 0.0

    @contextmanager
    def reserved(
        self,
        size_bytes: int | None,
        *,
        cancelled: Callable[[], bool],
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold a part of the memory; None is a light stage, a number the estimate of a heavy one.

        `waiting` is called once, when there is no room yet.

        Raises:
            KeyboardInterrupt: the build was cancelled while waiting.
        """
        if size_bytes is None:
            yield
            return
        with self._changed:
            if waiting is not None and not self._fits(size_bytes):
                waiting()
            while not self._fits(size_bytes):
                if cancelled():
                    raise KeyboardInterrupt
                self._changed.wait(TICK)
            self._reserved.append(size_bytes)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(size_bytes)
                self._changed.notify_all()

    def _fits(self, size_bytes: int) -> bool:
        if not self._reserved:
            self._budget = SHARE * self._available()
            return True
        return sum(self._reserved) + size_bytes <= self._budget
