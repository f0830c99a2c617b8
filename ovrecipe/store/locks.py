"""Locks between processes, in `store/.locks`; the system releases them when a process dies.

Each key has two: the one who makes its artifact holds `STAGE-SHA256.lock`, and all who use the
artifact share `SHA256.use`, which whoever removes it must have alone. So `gc` runs beside
builds, and what is in use stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock, ReadWriteLock

LOCKS = ".locks"


@contextmanager
def held(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock, calling `waiting` once when somebody else has it."""
    with ExitStack() as stack:
        if not stack.enter_context(held_if_free(path)):
            if waiting is not None:
                waiting()
            stack.enter_context(_file_lock(path))
        yield


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock if nobody has it, and say whether it is held; never waits."""
    with _tried(_file_lock(path, timeout=0)) as free:
        yield free


@contextmanager
def _tried(lock: AbstractContextManager[object]) -> Iterator[bool]:
    from filelock import Timeout

    is_held = False
    with ExitStack() as stack:
        with suppress(Timeout):
            stack.enter_context(lock)
            is_held = True
        yield is_held


def _file_lock(path: Path, timeout: float = -1) -> BaseFileLock:
    """Return a lock of this call only: two threads that ask for one path exclude each other."""
    from filelock import FileLock

    return FileLock(path, timeout, thread_local=False)


def unlink_held(path: Path) -> None:
    """Remove a lock file while it is held: whoever waits for it notices and makes a new one."""
    # Windows removes no open file; a lock file that stays is empty and does no harm.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


@contextmanager
def used(path: Path) -> Iterator[None]:
    """Share a `.use` lock; waits while an artifact is being removed."""
    with closing(_shared_or_alone(path)) as lock, lock.read_lock():
        yield


@contextmanager
def alone_if_unused(path: Path) -> Iterator[bool]:
    """Have a `.use` lock alone if nobody shares it, and say whether it is held; never waits."""
    with closing(_shared_or_alone(path)) as lock, _tried(lock.write_lock(0)) as unused:
        yield unused


def _shared_or_alone(path: Path) -> ReadWriteLock:
    from filelock import ReadWriteLock

    path.parent.mkdir(parents=True, exist_ok=True)
    # One of our own for each use: threads of one process exclude each other too.
    return ReadWriteLock(path, is_singleton=False)


def note_process(lock_path: Path) -> None:
    """Note beside a held lock which process has it, for the message of whoever waits."""
    lock_path.with_suffix(".pid").write_text(str(os.getpid()), encoding="ascii")


def noted_process(lock_path: Path) -> int | None:
    """Return the process noted beside a lock; None when there is no note, or half a note."""
    with suppress(OSError, ValueError):
        return int(lock_path.with_suffix(".pid").read_text(encoding="ascii"))
    return None
