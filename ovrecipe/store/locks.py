"""Locks between builds: files in `store/.locks`, released by the system when a process dies."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ovrecipe.store.disk import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

POLL_SECONDS = 0.05
LOCKS = ".locks"


def file_lock(path: Path) -> BaseFileLock:
    """Return a lock of this call only: two threads that ask for one path exclude each other."""
    from filelock import FileLock

    return FileLock(path, thread_local=False)


@contextmanager
def held(path: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock, calling `waiting` once when somebody else has it."""
    from filelock import Timeout

    lock = file_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting is not None:
            waiting()
        lock.acquire(poll_interval=POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def held_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock if nobody has it, and say whether it is held; never waits."""
    from filelock import Timeout

    lock = file_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def removals_paused(store_root: Path) -> Iterator[None]:
    """Exclude removing what is in use from saying that it is: each is done inside.

    A build notes here what it reads and a view where it leads; `gc` looks at both and removes
    one artifact. So a note comes before the look, or finds the artifact gone and says so.
    """
    locks_dir = store_root / LOCKS
    locks_dir.mkdir(parents=True, exist_ok=True)
    with held(locks_dir / "removals.lock"):
        yield


def unlink_held(path: Path) -> None:
    """Remove a lock file while it is held: whoever waits for it notices and makes a new one."""
    # Windows removes no open file; a lock file that stays is empty and does no harm.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock now."""
    if not path.exists():
        return False
    with held_if_free(path) as free:
        return not free


def write_holder(path: Path, inputs: tuple[str, ...]) -> None:
    """Note beside a held lock which process has it and which artifacts it reads."""
    text = json.dumps({"pid": os.getpid(), "inputs": list(inputs)})
    # Half a note would say that nothing is read, and `gc` would remove what is.
    replace_atomically(_holder_path(path), text)


def read_holder(path: Path) -> tuple[int | None, tuple[str, ...]]:
    """Return the process and the inputs noted beside a lock; (None, ()) when there is no note.

    The note is written after the lock is taken, so for an instant it may be missing or old.
    That is good enough for a message; `gc` reads it with `removals_paused`.
    """
    try:
        note = json.loads(_holder_path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None, ()
    match note:
        case {"pid": int(pid), "inputs": list(inputs)}:
            return pid, tuple(each for each in inputs if isinstance(each, str))
    return None, ()


def remove_holder(path: Path) -> None:
    """Remove the note, while the lock is still held."""
    _holder_path(path).unlink(missing_ok=True)


def _holder_path(path: Path) -> Path:
    return path.with_suffix(".holder")
