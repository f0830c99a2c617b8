"""Removing what nothing needs: reachability from the named views and the recipes' plans."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal, TypeAlias

from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.disk import TRASH_PREFIX, disk_errors, entries, files_below, remove_tree
from ovrecipe.store.locks import alone_if_unused
from ovrecipe.store.manifest import SHA256, Manifest, read_manifest
from ovrecipe.store.publish import is_stale, remove_if_stale, stagings
from ovrecipe.store.store import DOWNLOAD_PREFIX, Store
from ovrecipe.store.views import registered_views, views

LOG_AGE = timedelta(days=30)
#: One that is younger may be on its way still.
DOWNLOAD_AGE = timedelta(days=1)
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

    Views in `without`, resolved paths, do not count. A gate is a stage that reads an artifact and
    is read by none, so no input leads to it.
    """
    found = _shown(store, *models_dirs, without=without)
    artifacts = store.artifacts(damaged=lambda _: None)
    return found | {sha256 for _, sha256, its in artifacts if found.intersection(its.inputs)}


def _shown(store: Store, *models_dirs: Path, without: Collection[Path] = ()) -> set[str]:
    root = store.root.resolve()
    targets = [
        view.target
        for folder in {*models_dirs, *registered_views(store.root)}
        for view in views(folder)
        if view.target and folder.resolve() / view.name / view.variant not in without
    ]
    names = {target.name for target in targets if target.parent.parent == root}
    return set(filter(SHA256.fullmatch, names))


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
        ArtifactTooNew: a newer ovrecipe made one, reachable or not; it may need anything.
    """
    _refuse_newer(store)
    folders = {sha256: folder for _, sha256, folder in store.folders()}
    used = set(in_use(store))
    kept = {
        sha256
        for sha256 in reachable_from({*roots, *used}, folders)
        if sha256 in used or folders[sha256].parent.name not in drop_stages
    }
    stats = {}
    for kind, path in _doomed(store, folders, kept):
        if only is None or path.name in only:
            found = list(_stats(path))
            size_bytes = sum(stat.st_size for stat in found)
            stats[Removal(kind, path.relative_to(store.root).as_posix(), size_bytes)] = found
    return GcPlan(tuple(stats), _freed_bytes(stats.values()), len(kept), tuple(drop_stages))


def _refuse_newer(store: Store) -> None:
    for _ in store.artifacts(damaged=lambda _: None):
        pass


def collect(store: Store, plan: GcPlan) -> GcPlan:
    """Remove what the plan names and return what was removed.

    Before each artifact goes, everything is asked again: what a build that began since makes or
    reads, what it published was made from, and what a new view leads to stay.

    Raises:
        ArtifactCorrupt: a reachable artifact's manifest is damaged, so its inputs are unknown.
    """
    # Looked at before: afterwards there is nothing left to count.
    stats = {removal: list(_stats(store.root / removal.name)) for removal in plan.removals}
    done = set(_collected(store, plan))
    RememberedDigests(store.digests_path).forget_missing()
    stayed = sum(removal.kind == "artifact" for removal in stats.keys() - done)
    freed = _freed_bytes(stats[removal] for removal in done)
    removals = tuple(removal for removal in plan.removals if removal in done)
    return replace(plan, removals=removals, freed_bytes=freed, kept=plan.kept + stayed)


def _collected(store: Store, plan: GcPlan) -> Iterator[Removal]:
    """Remove what is not needed now, each artifact before what it was made from.

    So what was asked about and is still there stays, with all that it was made from.
    """
    read = cache(read_manifest)  # a published one never changes
    folders = {sha256: folder for _, sha256, folder in store.folders()}

    def rank(removal: Removal) -> float:
        if removal.kind != "artifact":
            return 0
        try:
            return len(reachable_from([Path(removal.name).name], folders, read=read))
        except ArtifactCorrupt:
            return math.inf  # when it is in use, nobody knows what else has to stay

    def is_needed(path: Path) -> bool:
        there = {sha256: folder for _, sha256, folder in store.folders()}
        roots = {*_shown(store), *(there.keys() - waiting)}
        is_reachable = path.name in reachable_from(roots, there, read=read)
        return is_reachable and path.parent.name not in plan.dropped_stages

    waiting = {Path(removal.name).name for removal in plan.removals}
    for removal in sorted(plan.removals, key=rank, reverse=True):
        if _removed(store, removal, is_needed):
            yield removal
        waiting.discard(Path(removal.name).name)


def reachable_from(
    roots: Iterable[str],
    folders: dict[str, Path],
    *,
    read: Callable[[Path], Manifest] = read_manifest,
    skip_damaged: bool = False,
) -> set[str]:
    """Return the artifacts that are there and are roots, or inputs of one, however far.

    Raises:
        ArtifactCorrupt, ArtifactTooNew: a manifest cannot be read, unless `skip_damaged`.
    """
    unreadable = (NotBuilt, ArtifactCorrupt, ArtifactTooNew) if skip_damaged else (NotBuilt,)
    found: set[str] = set()
    waiting = [sha256 for sha256 in roots if sha256 in folders]
    while waiting:
        sha256 = waiting.pop()
        if sha256 not in found:
            found.add(sha256)
            with suppress(*unreadable):
                waiting += [name for name in read(folders[sha256]).inputs if name in folders]
    return found


def in_use(store: Store) -> Iterator[str]:
    """Yield the sha256 of what running builds make and read: what cannot be had alone."""
    for path in sorted(store.locks_dir.glob("*.use")):
        with alone_if_unused(path) as unused:
            if not unused:
                yield path.stem


def _freed_bytes(stats: Iterable[list[os.stat_result]]) -> int:
    """Return what the disk gets back when the files with these stats, one per name, go."""
    by_file: dict[tuple[int, int], list[os.stat_result]] = {}
    for stat in chain.from_iterable(stats):
        by_file.setdefault((stat.st_dev, stat.st_ino), []).append(stat)
    return sum(names[0].st_size for names in by_file.values() if len(names) >= names[0].st_nlink)


def _stats(path: Path) -> Iterator[os.stat_result]:
    # Another gc may be removing it.
    with suppress(FileNotFoundError):
        for file in files_below(path) if path.is_dir() else [path]:
            yield file.lstat()


def _doomed(store: Store, folders: dict[str, Path], kept: set[str]) -> Iterator[tuple[Kind, Path]]:
    yield from (("artifact", path) for sha256, path in folders.items() if sha256 not in kept)
    yield from (("staging", path) for path in stagings(store.root) if is_stale(store.root, path))
    caches = entries(store.cache_dir("x").parent)
    yield from (("cache", path) for path in caches if path.name not in kept)
    yield from (("log", path) for path in _older(store, LOG_AGE, entries(store.logs_dir)))
    halves = [path for path in entries(store.root) if path.name.startswith(DOWNLOAD_PREFIX)]
    yield from (("leftover", path) for path in _older(store, DOWNLOAD_AGE, halves))
    leftovers = (path for path in entries(store.root) if path.name.startswith(LEFTOVERS))
    yield from (("leftover", path) for path in leftovers)


def _older(store: Store, age: timedelta, paths: Iterable[Path]) -> Iterator[Path]:
    oldest = (store.clock() - age).timestamp()
    return (path for path in paths for stat in _stats(path) if stat.st_mtime < oldest)


def _removed(store: Store, removal: Removal, is_needed: Callable[[Path], bool]) -> bool:
    path = store.root / removal.name
    if removal.kind == "staging":
        return remove_if_stale(store.root, path)
    if removal.kind == "artifact":
        return store.discard_if_unused(path.parent.name, path.name, unless=lambda: is_needed(path))
    with disk_errors(store.root):
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    return True
