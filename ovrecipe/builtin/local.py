"""The `local` source: a checkpoint directory on this machine, linked and never copied."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.builtin.checkpoint import check_contents, check_names
from ovrecipe.builtin.hub_files import wanted_files
from ovrecipe.errors import CheckpointNotFound, DiskFull, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovrecipe.errors import OvrecipeError
    from ovrecipe.hooks.roles import FileDigests, SourceRequest
    from ovrecipe.types import Json


def user_path(request: SourceRequest) -> Path:
    """Return the path that `model.id` names: `~` is the user's home, the recipe's folder the start.

    The home comes from the environment that was handed in, not from this process.
    """
    location = request.location
    if location == "~" or location.startswith(("~/", "~\\")):
        home = request.env.get("HOME") or request.env.get("USERPROFILE")
        if home:
            return Path(home, location[2:])
    return request.recipe_dir / location


#: ERROR_PRIVILEGE_NOT_HELD of Windows.
NO_PRIVILEGE = 1314
FULL = (errno.ENOSPC, errno.EDQUOT) if os.name != "nt" else (errno.ENOSPC,)


def link_files(names: Iterable[str], from_dir: Path, checkpoint_dir: Path) -> None:
    """Link each file under its name; gigabytes are never copied, the originals never touched.

    Raises:
        SourceError: this system lets the user make neither symbolic nor hard links there.
        DiskFull: there is no room for a link.
    """
    for name in names:
        link = checkpoint_dir / name
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(link, from_dir.absolute() / name)


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target)
    except NotImplementedError:
        _hard_link(link, target)
    except OSError as exc:
        if not _has_no_symlinks(exc):
            raise _refused(link, target, exc) from exc
        _hard_link(link, target)


def _has_no_symlinks(error: OSError) -> bool:
    """Say whether links are refused as such: by a file system that has none, or by Windows.

    Windows allows symbolic links only with Developer Mode or as administrator.
    """
    return error.errno == errno.EPERM or getattr(error, "winerror", None) == NO_PRIVILEGE


def _hard_link(link: Path, target: Path) -> None:
    try:
        os.link(target.resolve(), link)
    except OSError as exc:
        raise _refused(link, target, exc) from exc


def _refused(link: Path, target: Path, error: OSError) -> OvrecipeError:
    if error.errno in FULL:
        return DiskFull(
            f"{link.parent}: the disk is full", remedy="make room ('ovrecipe gc'), then build again"
        )
    return SourceError(
        f"{target} cannot be linked into the store: {error.strerror}",
        remedy="switch on Developer Mode, or put the store on the same drive (OVRECIPE_STORE)"
        if error.errno in (errno.EPERM, errno.EXDEV)
        else None,
    )


def require_unchanged(path: Path, pinned: Json, digests: FileDigests) -> None:
    """Compare a file with its pinned digest; ask this after reading it.

    Raises:
        SourceError: it is another file by now, or gone.
    """
    try:
        same = digests.sha256(path) == pinned
    except OSError:
        same = False
    if not same:
        raise changed(path)


def changed(path: Path) -> SourceError:
    """Return the error for content that is not what the build's keys were made from."""
    return SourceError(f"{path}: changed while it was read", remedy="build again")


class LocalSource:
    """Reads `model.id: ./directory`."""

    packages = ()
    version = 1
    needs_pin = False

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the digest of each file that would be taken."""
        source_dir = _directory(request)
        names = _wanted(request, source_dir)
        return {"files": {each: request.digests.sha256(source_dir / each) for each in names}}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Link the files; the directory stays as it is.

        Raises:
            SourceError: the files are damaged or unsafe, or were changed since they were pinned.
        """
        source_dir = _directory(request)
        request.progress(f"linking {source_dir.name}")
        names = _wanted(request, source_dir)
        link_files(names, source_dir, checkpoint_dir)
        check_contents(str(source_dir), checkpoint_dir, request.model)
        _require_unchanged(request, source_dir, names, pin)


def _require_unchanged(
    request: SourceRequest, source_dir: Path, names: tuple[str, ...], pin: Mapping[str, Json]
) -> None:
    pinned = pin["files"]
    if not isinstance(pinned, dict) or {*names} != {*pinned}:
        raise changed(source_dir)
    for name in names:
        require_unchanged(source_dir / name, pinned[name], request.digests)


def _directory(request: SourceRequest) -> Path:
    path = Path(os.path.normpath(user_path(request)))
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointNotFound(
            f"{path}: is a file; a local model.id is a checkpoint's directory or a .gguf file",
            remedy=f"perhaps you meant {path.parent}",
        )
    raise CheckpointNotFound(
        f"{path}: there is no such directory",
        remedy="relative paths in a recipe start from the recipe's own folder",
    )


def _wanted(request: SourceRequest, source_dir: Path) -> tuple[str, ...]:
    names = list(_file_names(source_dir))
    check_names(str(source_dir), names, request.model)
    return wanted_files(
        names,
        trust_remote_code=request.model.trust_remote_code,
        allow_pickle=request.model.allow_pickle,
    )


def _file_names(source_dir: Path) -> Iterator[str]:
    """Yield relative names, hidden folders such as `.git` and `.cache` left out."""
    for folder, folders, files in os.walk(source_dir):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in files:
            yield Path(folder, name).relative_to(source_dir).as_posix()
