"""Filling a checkpoint directory with links to files that are on this machine already."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ovrecipe.errors import DiskFull, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ovrecipe.errors import OvrecipeError

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
