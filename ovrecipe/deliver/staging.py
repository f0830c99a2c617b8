"""Writing beside a target, for what shall take its place: alone, and without leaving anything."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ovrecipe.run.exported import user_cache_dir
from ovrecipe.store import locks
from ovrecipe.store.disk import disk_errors, entries, random_name, remove_tree


@contextmanager
def alone(target: Path, env: Mapping[str, str]) -> Iterator[None]:
    """Let one export at a time write a folder or a file, and sweep what a killed one left.

    No link may lead to the folder that the target is in, so that all know it by one name.
    """
    place = hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    path = user_cache_dir(env) / "exports" / f"{place}.lock"
    with disk_errors(path.parent, any_refusal=True, remedy="name another with OVRECIPE_CACHE"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locks.held(path):
        _remove_stale(target)
        yield
        locks.unlink_held(path)


def stage_path(target: Path) -> Path:
    """Return a new place beside a target."""
    return target.with_name(f"{_prefix(target)}{random_name()}")


def _prefix(target: Path) -> str:
    return f".{target.name}.ovrecipe-"


def _remove_stale(target: Path) -> None:
    for path in entries(target.parent):
        if path.name.startswith(_prefix(target)):
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)
