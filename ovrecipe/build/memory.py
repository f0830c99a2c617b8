"""The machine's memory: what is available, who may plan with it, and who was killed for it."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where a container's own limits are. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
CGROUP_DIR = Path("/sys/fs/cgroup")
VMSTAT_PATH = Path("/proc/vmstat")
#: The share of the available memory that stages at work at the same time may plan with.
SHARE = 0.8
#: How often memory and a wish to cancel are looked at, in seconds.
TICK = 0.1


def memory_available_bytes(cgroup_dir: Path = CGROUP_DIR) -> int:
    """Return what is available without swapping, within the container's limit if there is one."""
    import psutil

    machine = int(psutil.virtual_memory().available)
    container = container_available_bytes(cgroup_dir)
    return machine if container is None else min(machine, container)


def container_available_bytes(cgroup_dir: Path) -> int | None:
    """Return what a container's limit leaves, None without one; cached pages count as free."""
    limit, used = _numbers(cgroup_dir / "memory.max"), _numbers(cgroup_dir / "memory.current")
    if not (limit and used):
        return None
    stat = _numbers(cgroup_dir / "memory.stat")
    cached = stat.get("active_file", 0) + stat.get("inactive_file", 0)
    return max(0, limit[""] - used[""] + cached)


def oom_kills(vmstat_path: Path = VMSTAT_PATH) -> int:
    """Return how many processes the kernel killed for want of memory; 0 where nobody counts."""
    return _numbers(vmstat_path).get("oom_kill", 0)


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file of the kernel's by name; a single number has none."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return {}
    found = re.findall(r"^(?:(\w+) )?(\d+)$", text, re.MULTILINE)
    return {name: int(number) for name, number in found}


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
        self, size_bytes: int, *, cancelled: Callable[[], bool], waiting: Callable[[], None]
    ) -> Iterator[None]:
        """Hold a part of the memory, after `waiting` was called if there is no room yet.

        A light stage, of 0 bytes, never waits.

        Raises:
            KeyboardInterrupt: the build was cancelled while waiting.
        """
        with self._changed:
            if not self._fits(size_bytes):
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
        taken = sum(self._reserved)
        if not taken:
            self._budget = SHARE * self._available()
        return not taken or not size_bytes or taken + size_bytes <= self._budget
