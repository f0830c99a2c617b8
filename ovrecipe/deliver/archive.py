"""Writing an export into a tar file: the same bytes each time, wherever it is written."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ovrecipe.deliver.staging import alone, stage_path
from ovrecipe.errors import ArtifactCorrupt, ProjectError
from ovrecipe.hooks.roles import silent
from ovrecipe.store import locks
from ovrecipe.store.disk import disk_errors, fsync
from ovrecipe.store.manifest import REBUILD
from ovrecipe.types import Progress

if TYPE_CHECKING:
    from ovrecipe.deliver.contents import Contents

PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip")
WRITABLE = "make its folder writable, or write the file to another place"


class _Hashing(io.RawIOBase):
    """Reads a file and hashes what was read."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._source.read(size)
        self.digest.update(data)
        return data


def check_tar_path(path: Path) -> None:
    """Refuse a name that promises another format.

    Raises:
        ProjectError: it does, or a folder has that name.
    """
    if path.suffix in PACKED:
        raise ProjectError(
            f"{path}: only a plain tar is written, for weights do not get smaller",
            remedy=f"name it {path.name.split('.')[0]}.tar",
        )
    if path.is_dir():
        raise ProjectError(f"{path} is a folder", remedy="name a file, as out.tar")


def write_tar(
    contents: Contents, path: Path, *, env: Mapping[str, str], progress: Progress = silent
) -> None:
    """Write the tar file; it is the old one, or whole as it shall be.

    All is in one folder. Owners, times and order are the same whoever writes it and when.

    Raises:
        ArtifactCorrupt: a file of the artifact is not what was built.
        StoreNotWritable, DiskFull: the disk refused.
        ProjectError: the name promises another format.
    """
    check_tar_path(path)
    folder = Path(os.path.realpath(path.parent))
    path = folder / path.name
    temporary = stage_path(path)
    with (
        alone(path, env),
        locks.used(contents.store.use_path(contents.export.artifact)),
        disk_errors(folder, needed_bytes=contents.size_bytes, any_refusal=True, remedy=WRITABLE),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(temporary, "x", format=tarfile.PAX_FORMAT) as archive:
                for name, source in contents.entries.items():
                    progress(f"packing {name}")
                    _add(archive, contents, name, source)
            fsync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync(Path(os.path.realpath(path)).parent)


def _add(archive: tarfile.TarFile, contents: Contents, name: str, source: Path | bytes) -> None:
    entry = tarfile.TarInfo(f"{contents.folder_name}/{name}")
    entry.mode, entry.mtime = (
        0o644,
        int(datetime.fromisoformat(contents.export.created).timestamp()),
    )
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
        return
    entry.size = contents.export.files[name].size_bytes
    with source.open("rb") as stream:
        hashing = _Hashing(stream)
        archive.addfile(entry, cast("BinaryIO", hashing))
    if hashing.digest.hexdigest() != contents.export.files[name].sha256:
        message = f"{source}: has other bytes than when it was made"
        raise ArtifactCorrupt(message, remedy=REBUILD)
