"""Reading every byte of artifacts again and comparing with their manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.store.digests import sha256_of
from ovrecipe.store.key import SHORT, Key
from ovrecipe.store.manifest import MANIFEST, FileEntry, read_manifest
from ovrecipe.store.publish import files_below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ovrecipe.store.store import Store
    from ovrecipe.types import Progress


class Problem(NamedTuple):
    """What is wrong with an artifact; `file` is None when it is the artifact as a whole."""

    stage: str
    sha256: str
    file: str | None
    message: str


def verify(
    store: Store, shas: Collection[str] | None = None, *, progress: Progress | None = None
) -> list[Problem]:
    """Return every difference between artifacts and their manifests; `shas` None means all.

    Raises:
        OSError: a file cannot be read at all, which is the disk's problem, not the artifact's.
    """
    chosen = [found for found in store.folders() if shas is None or found[1] in shas]
    problems: list[Problem] = []
    for index, (stage, sha256, folder) in enumerate(chosen):
        if progress is not None:
            progress(f"{stage} {sha256[:SHORT]}", done=index, total=len(chosen))
        problems += [Problem(stage, sha256, *found) for found in _problems(sha256, folder)]
    return problems


def _problems(sha256: str, folder: Path) -> Iterator[tuple[str | None, str]]:
    try:
        manifest = read_manifest(folder)
    except NotBuilt:
        yield None, f"{MANIFEST} is missing"
        return
    except ArtifactCorrupt as error:
        yield None, error.message.removeprefix(f"{folder}/")
        return
    if (manifest.stage, manifest.sha256) != (folder.parent.name, sha256):
        yield None, f"{MANIFEST} belongs to {manifest.stage} {manifest.sha256[:SHORT]}"
    elif Key(manifest.stage, manifest.key).sha256 != sha256:
        yield None, f"the key in {MANIFEST} is not the one the artifact was built for"
    present = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    for name in sorted(set(present) - set(manifest.files) - {MANIFEST}):
        yield name, "is not in the manifest"
    for name, entry in manifest.files.items():
        message = _file_problem(present[name], entry) if name in present else "is missing"
        if message is not None:
            yield name, message


def _file_problem(path: Path, entry: FileEntry) -> str | None:
    if path.is_symlink() != entry.link:
        return "was a link and is a file" if entry.link else "was a file and is a link"
    if not path.is_file():
        return f"links to {path.readlink()}, which is gone"
    where = f"the file it links to, {path.readlink()}, " if entry.link else ""
    size_bytes = path.stat().st_size
    if size_bytes != entry.size_bytes:
        return f"{where}has {size_bytes} bytes, and had {entry.size_bytes}"
    if sha256_of(path) != entry.sha256:
        return f"{where}has other bytes than when it was made"
    return None
