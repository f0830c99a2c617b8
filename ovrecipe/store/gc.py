"""Removing what nothing needs: reachability from the named views and the recipes' plans."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from ovrecipe.errors import NotBuilt
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.disk import TRASH_PREFIX, disk_errors, remove_tree
from ovrecipe.store.locks import alone_if_unused
from ovrecipe.store.manifest import SHA256, read_manifest
from ovrecipe.store.publish import files_below, is_stale, remove_if_stale, stagings
from ovrecipe.store.verify import readable_inputs
from ovrecipe.store.views import registered_views, views

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from ovrecipe.store.store import Store

LOG_AGE = timedelta(days=30)
LEFTOVERS = (TRASH_PREFIX, ".probe-", ".digests.json.")
Kind: TypeAlias = Literal["artifact", "staging", "cache", "log", "leftover"]


@dataclass(frozen=True)
class Removal:
    """One thing to remove; `name` is its path in the store."""

    kind: Kind
    name: str
    size_bytes: int


@dataclass(frozen=True)
class GcPlan:
    """What `collect` would remove, what it frees, and how many artifacts stay.

    `freed_bytes` counts a file once however many names it has, and only when all of them go;
    so it can be less than the sum of the sizes.
    """

    removals: tuple[Removal, ...]
    freed_bytes: int
    kept: int
    dropped_stages: tuple[str, ...] = ()


def viewed(store: Store, *models_dirs: Path, without: Collection[Path] = ()) -> set[str]:
    """Return the sha256 of what views lead to, in any project known, and of its gates' results.

    Views in `without`, resolved paths, do not count.

    A gate is a stage that reads an artifact and is read by none, so no input leads to it.
    """
    found = shown(store, *models_dirs, without=without)
    gates = {
        sha256
        for _, sha256, folder in store.folders()
        if found.intersection(readable_inputs(folder))
    }
    return found | gates


def shown(store: Store, *models_dirs: Path, without: Collection[Path] = ()) -> set[str]:
    """Return the sha256 of what views lead to, in these folders and in any project known."""
    folders = {*models_dirs, *registered_views(store.root)}
    targets = [
        view.target
        for folder in folders
        for view in views(folder)
        if view.target and folder.resolve() / view.name / view.variant not in without
    ]
    root = store.root.resolve()
    return {
        target.name
        for target in targets
        if target.parent.parent == root and SHA256.fullmatch(target.name)
    }


def plan_gc(
    store: Store,
    roots: Collection[str],
    *,
    drop_stages: Collection[str] = (),
    only: Collection[str] | None = None,
) -> GcPlan:
    """Return what is not reachable from `roots` (sha256 of keys) or from a running build.

    A manifest's key names the inputs it was made from, so the intermediates of what is kept are
    kept as well, unless their stage is in `drop_stages`, which is stronger than a root. With
    `only`, no more than these artifacts and their caches are removed.

    Raises:
        ArtifactCorrupt: a reachable artifact's manifest is damaged, so its inputs are unknown.
    """
    folders = {sha256: folder for _, sha256, folder in store.folders()}
    kept = _kept(store, folders, roots, drop_stages)
    doomed = [
        (kind, path)
        for kind, path in _doomed(store, folders, kept)
        if only is None or path.name in only
    ]
    return GcPlan(
        removals=tuple(_removal(store, kind, path) for kind, path in doomed),
        freed_bytes=freed_bytes([stat for _, path in doomed for stat in _stats(path)]),
        kept=len(kept),
        dropped_stages=tuple(drop_stages),
    )


def _kept(
    store: Store,
    folders: dict[str, Path],
    roots: Collection[str],
    drop_stages: Collection[str],
    *,
    had_alone: str = "",
) -> set[str]:
    used = set(in_use(store)) - {had_alone}
    reachable = reachable_from({*roots, *used}, folders)
    return {
        sha256
        for sha256 in reachable
        if sha256 in used or folders[sha256].parent.name not in drop_stages
    }


def collect(store: Store, plan: GcPlan) -> GcPlan:
    """Remove what the plan names and return what was removed.

    Before each artifact goes, everything is asked again: what a build that began since makes or
    reads, what it published was made from, and what a new view leads to stay.

    Raises:
        ArtifactCorrupt: a reachable artifact's manifest is damaged, so its inputs are unknown.
    """
    # Looked at before: afterwards there is nothing left to count.
    stats = {removal: list(_stats(store.root / removal.name)) for removal in plan.removals}
    done = [removal for removal in plan.removals if _removed(store, removal, plan)]
    if store.digests_path.exists():
        RememberedDigests(store.digests_path).forget_missing()
    taken = sum(removal.kind == "artifact" for removal in set(plan.removals) - set(done))
    freed = freed_bytes([stat for removal in done for stat in stats[removal]])
    return replace(plan, removals=tuple(done), freed_bytes=freed, kept=plan.kept + taken)


def recorded_inputs(folder: Path) -> tuple[str, ...]:
    """Return what an artifact was made from; nothing when its manifest is missing.

    Raises:
        ArtifactCorrupt: the manifest is damaged.
    """
    try:
        return read_manifest(folder).inputs
    except NotBuilt:
        return ()


def reachable_from(
    roots: Collection[str],
    folders: dict[str, Path],
    *,
    inputs: Callable[[Path], Collection[str]] = recorded_inputs,
) -> set[str]:
    """Return the artifacts that are there and are roots, or inputs of one, however far."""
    found: set[str] = set()
    waiting = [sha256 for sha256 in roots if sha256 in folders]
    while waiting:
        sha256 = waiting.pop()
        if sha256 not in found:
            found.add(sha256)
            waiting += [name for name in inputs(folders[sha256]) if name in folders]
    return found


def in_use(store: Store) -> Iterator[str]:
    """Yield the sha256 of what running builds make and read: what cannot be had alone."""
    if store.locks_dir.is_dir():
        for path in sorted(store.locks_dir.glob("*.use")):
            with alone_if_unused(path) as unused:
                if not unused:
                    yield path.stem


def freed_bytes(stats: Sequence[os.stat_result]) -> int:
    """Return what the disk gets back when the files with these stats, one per name, go."""
    files = {(stat.st_dev, stat.st_ino): stat for stat in stats}
    names = Counter((stat.st_dev, stat.st_ino) for stat in stats)
    return sum(stat.st_size for file, stat in files.items() if names[file] >= stat.st_nlink)


def _stats(path: Path) -> Iterator[os.stat_result]:
    # Another gc may be removing it.
    with suppress(FileNotFoundError):
        for file in files_below(path) if path.is_dir() else [path]:
            yield file.lstat()


def _doomed(store: Store, folders: dict[str, Path], kept: set[str]) -> Iterator[tuple[Kind, Path]]:
    if not store.root.is_dir():
        return
    yield from (("artifact", path) for sha256, path in folders.items() if sha256 not in kept)
    yield from (("staging", path) for path in stagings(store) if is_stale(store, path))
    yield from (("cache", path) for path in _inside(store.cache_dir("x").parent)
                if path.name not in kept)  # fmt: skip
    oldest = (store.clock() - LOG_AGE).timestamp()
    yield from (("log", path) for path in _inside(store.logs_dir) if path.stat().st_mtime < oldest)
    yield from (
        ("leftover", path) for path in _inside(store.root) if path.name.startswith(LEFTOVERS)
    )


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _removal(store: Store, kind: Kind, path: Path) -> Removal:
    size_bytes = sum(stat.st_size for stat in _stats(path))
    return Removal(kind, path.relative_to(store.root).as_posix(), size_bytes)


def _removed_unless_needed(store: Store, path: Path, plan: GcPlan) -> bool:
    doomed = {removal.name.rpartition("/")[2] for removal in plan.removals}

    def is_needed() -> bool:
        folders = {sha256: folder for _, sha256, folder in store.folders()}
        roots = {*shown(store), *(set(folders) - doomed)}
        return path.name in _kept(store, folders, roots, plan.dropped_stages, had_alone=path.name)

    return store.discard_if_unused(path.parent.name, path.name, unless=is_needed)


def _removed(store: Store, removal: Removal, plan: GcPlan) -> bool:
    path = store.root / removal.name
    if removal.kind == "staging":
        return remove_if_stale(store, path)
    if removal.kind == "artifact":
        return _removed_unless_needed(store, path, plan)
    with disk_errors(store.root):
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    return True
