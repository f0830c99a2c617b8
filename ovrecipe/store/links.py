"""A file under a second name without a second copy, where the disk can do that."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Literal, TypeAlias

from ovrecipe.store.disk import disk_errors
from ovrecipe.store.manifest import MANIFEST

#: How a file came to its second name; "copy" costs its size and is worth telling the user.
Linked: TypeAlias = Literal["hardlink", "symlink", "reflink", "copy"]
NO_HARD_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
#: Source: linux/fs.h, _IOW(0x94, 9, int).
FICLONE = 0x40049409


def link_file(source: Path, target: Path) -> Linked:
    """Give a file a second name and say how; a symbolic link is made again, not followed.

    Raises:
        DiskFull: it had to be copied and there is no room.
        StoreNotWritable: the folder of `target` refuses.
    """
    with disk_errors(target.parent, needed_bytes=source.stat().st_size):
        if source.is_symlink():
            target.symlink_to(source.resolve())
            return "symlink"
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in NO_HARD_LINK:
                raise
            return _reflink_or_copy(source, target)
        return "hardlink"


def link_tree(source_dir: Path, target_dir: Path) -> Counter[Linked]:
    """Link every file of an artifact but its manifest below another folder; count the ways."""
    counts: Counter[Linked] = Counter()
    target_dir.mkdir(exist_ok=True)
    for here, dirs, files in os.walk(source_dir):
        mirrored = target_dir / Path(here).relative_to(source_dir)
        for name in sorted(dirs):
            (mirrored / name).mkdir(exist_ok=True)
        for name in sorted(set(files) - ({MANIFEST} if mirrored == target_dir else set())):
            counts[link_file(Path(here) / name, mirrored / name)] += 1
    return counts


def _reflink_or_copy(source: Path, target: Path) -> Linked:
    import shutil

    if sys.platform == "linux" and _reflinked(source, target):
        return "reflink"
    shutil.copyfile(source, target)
    return "copy"


def _reflinked(source: Path, target: Path) -> bool:
    """Ask the file system (btrfs, xfs) to share the blocks; False when it cannot."""
    import fcntl

    with source.open("rb") as reading, target.open("xb") as writing:
        try:
            fcntl.ioctl(writing.fileno(), FICLONE, reading.fileno())
        except OSError:
            return False
    return True
