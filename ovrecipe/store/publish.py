"""From a staging folder to a published artifact: the order of the steps is the guarantee.

Every file is hashed and on the disk before the manifest is written, the manifest before the
folder is renamed, and the rename is one call. So whatever kills us leaves either no artifact
or a whole one.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ovrecipe.errors import ArtifactCorrupt, StoreError
from ovrecipe.store import disk, locks
from ovrecipe.store.digests import sha256_of
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST, REBUILD, FileEntry, Manifest

STAGING_PREFIX = ".stage-"


@contextmanager
def staging_folder(root: Path, key: Key) -> Iterator[Path]:
    """Give a new empty folder in the store and remove what is left of it afterwards."""
    family = f"{STAGING_PREFIX}{key.stage}-{key.short}-"
    for stale in stagings(root, family):
        remove_if_stale(root, stale)
    folder = root / f"{family}{disk.random_name()}"
    # The lock comes first: a folder without a held lock may be removed by anyone.
    with locks.held(_lock_path(root, folder)):
        try:
            with disk.disk_errors(root):
                folder.mkdir()
            yield folder
        finally:
            disk.remove_tree(folder)
            locks.unlink_held(_lock_path(root, folder))


def stagings(root: Path, prefix: str = STAGING_PREFIX) -> list[Path]:
    """Return the staging folders that are in the store, of builds alive or dead."""
    return [path for path in disk.entries(root) if path.name.startswith(prefix)]


def _lock_path(root: Path, folder: Path) -> Path:
    """Return the lock that the process working in a staging folder holds."""
    return root / locks.LOCKS / f"{folder.name.removeprefix('.')}.lock"


def is_stale(root: Path, folder: Path) -> bool:
    """Tell whether the process that worked in the folder is gone."""
    with locks.held_if_free(_lock_path(root, folder)) as free:
        return free


def remove_if_stale(root: Path, folder: Path) -> bool:
    """Remove a staging folder whose process is gone, and say whether it was."""
    path = _lock_path(root, folder)
    with locks.held_if_free(path) as free:
        if free:
            disk.remove_moved(folder, root)
            locks.unlink_held(path)
    return free


KnownDigests: TypeAlias = "Mapping[str, tuple[int, str]]"
READ_ONLY_FILE = 0o444
READ_ONLY_DIR = 0o555


def seal_files(staging_dir: Path, known: KnownDigests) -> dict[str, FileEntry]:
    """Hash every file of a staging folder, put it on the disk and make it read-only.

    Raises:
        StoreError: something in the folder cannot be part of an artifact.
        ArtifactCorrupt: a file with a known digest has another size.
    """
    sealed = {}
    for path in disk.files_below(staging_dir):
        name = path.relative_to(staging_dir).as_posix()
        if name == MANIFEST:
            raise StoreError(f"the stage wrote {MANIFEST} itself; that name is the store's")
        sealed[name] = _sealed(path, name, known, staging_dir)
    return sealed


def write_manifest(staging_dir: Path, manifest: Manifest) -> None:
    """Write manifest.json as the last file, then put the folder's names on the disk."""
    path = staging_dir / MANIFEST
    text = json.dumps(manifest.as_json(), indent=2, sort_keys=True, allow_nan=False) + "\n"
    with disk.disk_errors(staging_dir.parent, needed_bytes=len(text)):
        path.unlink(missing_ok=True)
        disk.write_durably(path, text)
        path.chmod(READ_ONLY_FILE)
        for here, dirs, _ in os.walk(staging_dir, topdown=False):
            disk.fsync(Path(here))
            for name in dirs:
                (Path(here) / name).chmod(READ_ONLY_DIR)


def move_into_place(root: Path, staging_dir: Path, artifact_dir: Path) -> None:
    """Rename the finished folder; after this call the artifact is there, also after a crash."""
    with disk.disk_errors(root):
        artifact_dir.parent.mkdir(exist_ok=True)
        staging_dir.rename(artifact_dir)
        disk.fsync(artifact_dir.parent)
        disk.fsync(root)
        # Only now: a read-only folder cannot be moved to another parent.
        artifact_dir.chmod(READ_ONLY_DIR)


def _sealed(path: Path, name: str, known: KnownDigests, staging_dir: Path) -> FileEntry:
    """Return the entry of a file, or of a link to one, whose target is not ours to change."""
    is_link = path.is_symlink()
    if not path.is_file():
        what = f"links to {path.readlink()}, which is no file" if is_link else "is no regular file"
        raise StoreError(f"{name} {what}")
    is_inside = path.resolve().is_relative_to(staging_dir.resolve())
    if is_link and is_inside and path.readlink().is_absolute():
        raise StoreError(f"{name} links into the staging folder by its absolute path")
    before = path.stat()
    size_bytes = before.st_size
    known_bytes, sha256 = known.get(name) or (size_bytes, sha256_of(path))
    if known_bytes != size_bytes:
        raise ArtifactCorrupt(
            f"{name} has {size_bytes} bytes, and {known_bytes} in the artifact it comes from",
            remedy=REBUILD,
        )
    if not is_link:
        with disk.disk_errors(staging_dir, needed_bytes=size_bytes):
            if name not in known:
                disk.fsync(path)
            # With a second name elsewhere it may be the user's own file: only ours are locked.
            if path.lstat().st_nlink == 1:
                path.chmod(READ_ONLY_FILE)
    mtime_ns = None if is_link else before.st_mtime_ns
    return FileEntry(size_bytes=size_bytes, sha256=sha256, link=is_link, mtime_ns=mtime_ns)
