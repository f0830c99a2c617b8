"""Filling a checkpoint directory with links to files that are on this machine already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ovrecipe.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def link_files(names: Iterable[str], from_dir: Path, checkpoint_dir: Path) -> None:
    """Link each file under its name; gigabytes are never copied, the originals never touched.

    Raises:
        SourceError: this system lets the user make neither symbolic nor hard links there.
    """
    for name in names:
        link = checkpoint_dir / name
        link.parent.mkdir(parents=True, exist_ok=True)
        _link(link, from_dir.absolute() / name)


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target)
    except (OSError, NotImplementedError):
        # Windows allows symbolic links only with Developer Mode or as administrator.
        _hard_link(link, target)


def _hard_link(link: Path, target: Path) -> None:
    try:
        os.link(target.resolve(), link)
    except OSError as exc:
        raise SourceError(
            f"{target} cannot be linked into the store: {exc.strerror}",
            remedy="switch on Developer Mode, or put the store on the same drive (OVRECIPE_STORE)",
        ) from exc
