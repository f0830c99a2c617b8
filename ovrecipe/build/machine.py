"""What memory this process may still take, of the machine's or of its container's."""

from __future__ import annotations

from pathlib import Path

#: Where a container's own limits are. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
CGROUP_DIR = Path("/sys/fs/cgroup")


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
    limit = _number(cgroup_dir / "memory.max")
    used = _number(cgroup_dir / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + _cached_bytes(cgroup_dir / "memory.stat"))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _cached_bytes(path: Path) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    fields = dict(line.split(maxsplit=1) for line in lines if line.count(" ") == 1)
    return sum(int(fields.get(name, 0)) for name in ("active_file", "inactive_file"))
