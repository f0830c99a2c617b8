"""Folders in which stages work: one per attempt, found and removed after a crash.

While its process lives, a staging folder's lock is held; the system releases it when the
process dies, however it dies. So a free lock means a leftover.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovrecipe.store.disk import disk_errors, random_name, remove_moved, remove_tree
from ovrecipe.store.locks import held, held_if_free, unlink_held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovrecipe.store.key import Key
    from ovrecipe.store.store import Store

STAGING_PREFIX = ".stage-"


@contextmanager
def staging_folder(store: Store, key: Key) -> Iterator[Path]:
    """Give a new empty folder and remove what is left of it afterwards."""
    family = f"{STAGING_PREFIX}{key.stage}-{key.short}-"
    for stale in stagings(store, family):
        remove_if_stale(store, stale)
    folder = store.root / f"{family}{random_name()}"
    # The lock comes first: a folder without a held lock may be removed by anyone.
    with held(lock_path(store, folder)):
        try:
            with disk_errors(store.root):
                folder.mkdir()
            yield folder
        finally:
            remove_tree(folder)
            unlink_held(lock_path(store, folder))


def stagings(store: Store, prefix: str = STAGING_PREFIX) -> list[Path]:
    """Return the staging folders that are there, of builds alive or dead."""
    return sorted(each for each in store.root.iterdir() if each.name.startswith(prefix))


def lock_path(store: Store, folder: Path) -> Path:
    """Return the lock that the process working in a staging folder holds."""
    return store.locks_dir / f"{folder.name.removeprefix('.')}.lock"


def is_stale(store: Store, folder: Path) -> bool:
    """Tell whether the process that worked in the folder is gone."""
    with held_if_free(lock_path(store, folder)) as free:
        return free


def remove_if_stale(store: Store, folder: Path) -> bool:
    """Remove a staging folder whose process is gone, and say whether it was."""
    path = lock_path(store, folder)
    with held_if_free(path) as free:
        if free:
            remove_moved(folder, store.root)
            unlink_held(path)
    return free
