"""Writing an export into a folder: staged beside it, then put into place in one step.

Whatever kills us leaves the folder as it was, or whole as it shall be.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.deliver.staging import alone, stage_path
from ovrecipe.errors import ArtifactCorrupt, ProjectError
from ovrecipe.hooks.roles import silent
from ovrecipe.run.exported import (
    EXPORT,
    Export,
    exported_digests,
    file_problem,
    read_export,
)
from ovrecipe.store import locks
from ovrecipe.store.digests import sha256_of
from ovrecipe.store.disk import (
    NO_HARD_LINK,
    copy_file,
    disk_errors,
    files_below,
    fsync,
    remove_tree,
)
from ovrecipe.store.manifest import REBUILD
from ovrecipe.types import Progress
from ovrecipe.wording import counted

if TYPE_CHECKING:
    from ovrecipe.deliver.contents import Contents

WRITABLE = "make its folder writable, or export to another place"


@dataclass(frozen=True)
class Written:
    """What became of a folder: which files were written, kept as they were, or removed."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was done at all."""
        return bool(self.written or self.removed)


def write_folder(
    contents: Contents, folder: Path, *, env: Mapping[str, str], progress: Progress = silent
) -> Written:
    """Make a folder the export; what is in it already is not copied again.

    Raises:
        ProjectError: the folder has something that is no export of ours, or cannot be replaced.
        ArtifactCorrupt: a file of the artifact is not what was built.
        StoreNotWritable, DiskFull: the disk refused; the folder is as it was.
    """
    folder = Path(os.path.realpath(folder))
    with disk_errors(folder, needed_bytes=contents.size_bytes, any_refusal=True, remedy=WRITABLE):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder, env), locks.used(contents.store.use_path(contents.export.artifact)):
        before = _there(folder)
        same = set(_same(contents, folder, before, exported_digests(env).sha256))
        wanted = contents.entries
        gone = tuple(sorted(_names(before) - wanted.keys()))
        written = tuple(name for name in wanted if name not in same)
        if written or gone:
            with disk_errors(folder.parent, needed_bytes=contents.size_bytes, remedy=WRITABLE):
                _replace(contents, folder, same, progress)
        return Written(written, tuple(name for name in wanted if name in same), gone)


def _there(folder: Path) -> Export | None:
    """Return the export that a folder has; None where there is nothing yet.

    Raises:
        ProjectError: it has something else.
        ArtifactCorrupt, ArtifactTooNew: nobody knows what of it is ours.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not folder.is_dir():
        raise ProjectError(f"{folder} is a file", remedy="name another folder, or remove it")
    if not (folder / EXPORT).is_file():
        raise ProjectError(
            f"{folder} is not empty and no export of ovrecipe's",
            remedy="name another folder, or empty this one",
        )
    found = read_export(folder)
    present = {path.relative_to(folder).as_posix() for path in files_below(folder)}
    if foreign := sorted(present - _names(found)):
        raise ProjectError(
            f"{folder} has {counted(len(foreign), 'file')} that the export did not write:"
            f" {', '.join(foreign[:3])}",
            remedy="move them elsewhere; the folder is replaced as a whole",
        )
    return found


def _names(export: Export | None) -> set[str]:
    return {*export.files, *export.beside, EXPORT} if export is not None else set()


def _same(
    contents: Contents, folder: Path, before: Export | None, sha256: Callable[[Path], str]
) -> Iterator[str]:
    """Yield the names of files that are in the folder already, byte for byte."""
    if before is None:
        return
    for name, entry in {**contents.export.files, **contents.export.beside}.items():
        path = folder / name
        if not path.is_symlink() and file_problem(path, entry, sha256) is None:
            yield name
    if (folder / EXPORT).read_bytes() == contents.entries[EXPORT]:
        yield EXPORT


def _replace(contents: Contents, folder: Path, same: set[str], progress: Progress) -> None:
    """Stage the whole export beside the folder and put it in the folder's place."""
    here = Path.cwd()
    if here == folder or folder in here.parents:
        raise ProjectError(f"{folder} is the working folder", remedy="export from outside of it")
    stage = stage_path(folder)
    try:
        stage.mkdir()
        for name, source in contents.entries.items():
            target = stage / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in same:
                _link(folder / name, target)
            elif isinstance(source, bytes):
                target.write_bytes(source)
            else:
                progress(f"copying {name}")
                _copy(source, target, contents.export.files[name].sha256)
            fsync(target)
        for inner, _, _ in os.walk(stage, topdown=False):
            fsync(Path(inner))
        _put(stage, folder)
        fsync(folder.parent)
    finally:
        remove_tree(stage)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
        copy_file(source, target)


def _copy(source: Path, target: Path, sha256: str) -> None:
    copy_file(source, target)
    if sha256_of(target) != sha256:
        message = f"{source}: has other bytes than when it was made"
        raise ArtifactCorrupt(message, remedy=REBUILD)


def _put(stage: Path, folder: Path) -> None:
    """Let the staged folder take the place; what was there is left where it was staged."""
    if not os.path.lexists(folder):
        stage.rename(folder)
    elif not any(folder.iterdir()):
        folder.rmdir()
        stage.rename(folder)
    elif not _exchanged(stage, folder):
        old = stage_path(folder)
        folder.rename(old)
        try:
            stage.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        remove_tree(old)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two folders change places in one step, where the system can; say whether it did.

    Source: renameat2(2), RENAME_EXCHANGE; AT_FDCWD of fcntl.h.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "renameat2"):
        return False
    here, exchange = -100, 2
    done = libc.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return bool(done == 0)
