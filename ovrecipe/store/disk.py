"""What the store does to a disk: write durably, remove, link; with errors a user can act on."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from ovrecipe.errors import StoreNotWritable, StoreRemoved, disk_full, is_disk_full
from ovrecipe.wording import amount

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
WINDOWS = os.name == "nt"
#: What helps where `ovrecipe.lock` or `models/` cannot be written.
WRITABLE_PROJECT = "make the project's folder writable"
TRASH_PREFIX = ".trash-"


@contextmanager
def disk_errors(
    path: Path,
    *,
    needed_bytes: int | None = None,
    any_refusal: bool = False,
    remedy: str = "make it a writable folder, or put the store elsewhere with OVRECIPE_STORE",
) -> Iterator[None]:
    """Turn what a disk refuses into errors of the store; any other OSError is a bug and passes.

    With `any_refusal` every other one says that `path` cannot be written.

    Raises:
        DiskFull: no room, no quota, or a file larger than the file system takes.
        StoreNotWritable: no permission, a read-only disk, or a file where a folder should be.
        StoreRemoved: `path` was removed meanwhile.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not any_refusal and not path.exists():
            raise removed_meanwhile(path) from error
        if is_disk_full(error):
            needed = "" if needed_bytes is None else f", {amount(needed_bytes)} needed"
            raise disk_full(str(path), f" ({amount(free_bytes(path))} free{needed})") from error
        if any_refusal or error.errno in REFUSED:
            raise StoreNotWritable(
                f"{path}: cannot be written ({error.strerror or error})",
                remedy=remedy,
            ) from error
        raise


def removed_meanwhile(what: object) -> StoreRemoved:
    """Return the error for a store, or a folder in it, that somebody removed while it was used."""
    return StoreRemoved(
        f"{what} was removed meanwhile",
        remedy="leave the store alone while a build runs, and build again",
    )


def free_bytes(path: Path) -> int:
    """Return the room on the disk that `path` is on, or will be on."""
    import shutil

    existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(existing).free


def entries(folder: Path) -> list[Path]:
    """Return what is in a folder, in a fixed order; nothing when there is no such folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def files_below(folder: Path) -> Iterator[Path]:
    """Yield everything below a folder that is not a folder, in a fixed order; follow no link."""

    def fail(error: OSError) -> None:
        raise error

    for here, dirs, files in os.walk(folder, onerror=fail):
        dirs.sort()
        linked = [name for name in dirs if (Path(here) / name).is_symlink()]
        yield from (Path(here) / name for name in sorted([*files, *linked]))


def random_name() -> str:
    """Return a part of a name that nobody else uses."""
    return os.urandom(5).hex()


def fsync(path: Path) -> None:
    """Wait until a file's bytes or a folder's names are on the disk."""
    if WINDOWS and path.is_dir():
        return  # it has no such call for folders and needs none
    # Windows flushes only through a handle that may write.
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Write a new file and wait until it is on the disk."""
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def replace_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that every reader sees either the old text or the new one, whole.

    What is not `durable` may be lost with the machine's power.
    """
    temporary = path.with_name(f".{path.name.removeprefix('.')}.{random_name()}")
    try:
        if durable:
            write_durably(temporary, text)
        else:
            temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        fsync(path.parent)


def remove_moved(folder: Path, root: Path) -> None:
    """Remove a folder of the store below `root`; it vanishes with one rename, or is gone already.

    So nothing half-removed is seen, and a worker that outlived its parent finds no folder to fill.

    Raises:
        StoreNotWritable, DiskFull: the disk refused.
    """
    trash = root / f"{TRASH_PREFIX}{random_name()}"
    with disk_errors(root), suppress(FileNotFoundError):
        # A read-only folder cannot be moved to another parent.
        folder.chmod(0o755)
        folder.rename(trash)
        remove_tree(trash)


def remove_tree(path: Path) -> None:
    """Remove a folder with everything in it, read-only parts too; it may be gone already."""
    import shutil

    # A read-only folder keeps its entries; the walk enters no link, so all of them are ours.
    for folder, _, _ in os.walk(path):
        with suppress(FileNotFoundError):
            Path(folder).chmod(0o755)
    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=_remove_anyway)
    else:
        shutil.rmtree(path, onerror=lambda call, name, info: _remove_anyway(call, name, info[1]))


def _remove_anyway(call: Callable[[str], object], name: str, error: BaseException) -> None:
    """Accept what somebody else removed first; Windows wants files writable to remove them."""
    if sys.platform == "win32" and isinstance(error, PermissionError):
        _remove_read_only(call, name)
    elif not isinstance(error, FileNotFoundError):
        raise error


if sys.platform == "win32":

    def _remove_read_only(call: Callable[[str], object], name: str) -> None:
        path = Path(name)
        # A change of the mode would show under a file's other names, in a kept or a user's folder.
        if call is os.unlink and (path.is_symlink() or path.lstat().st_nlink > 1):
            try:
                _unlink_as_it_is(name)
            except OSError:
                # Where the disk cannot, the mode changes after all: only we make hard links.
                if path.is_symlink():
                    raise
            else:
                return
        path.chmod(0o644)
        call(name)

    def _unlink_as_it_is(name: str) -> None:
        """Remove one name of a read-only file and change nothing of the file itself.

        Source: winnt.h (DELETE, FILE_DISPOSITION_FLAG_*), winbase.h (FILE_FLAG_OPEN_REPARSE_POINT,
        of a symbolic link the link; FILE_INFO_BY_HANDLE_CLASS, FileDispositionInfoEx).

        Raises:
            OSError: Windows refused: the file system is not NTFS, or it is older than 1809.
        """
        import ctypes
        from ctypes import wintypes

        delete, share_all, existing, open_link, disposition_ex = 0x00010000, 0x7, 3, 0x00200000, 21
        # _DELETE, _POSIX_SEMANTICS, _IGNORE_READONLY_ATTRIBUTE
        flags = wintypes.DWORD(0x1 | 0x2 | 0x10)
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        set_info, close = kernel.SetFileInformationByHandle, kernel.CloseHandle
        set_info.argtypes = wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD
        kernel.CreateFileW.restype, close.argtypes = wintypes.HANDLE, (wintypes.HANDLE,)
        # _winapi.CreateFile of Python before 3.11.8 takes no names outside ASCII.
        handle = kernel.CreateFileW(name, delete, share_all, None, existing, open_link, None)
        if handle == wintypes.HANDLE(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if not set_info(handle, disposition_ex, ctypes.byref(flags), ctypes.sizeof(flags)):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            close(handle)


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
        else:
            return "hardlink"
        return copy_file(source, target)


def copy_file(source: Path, target: Path) -> Linked:
    """Give a file's bytes a second place and say how; the blocks are shared where a disk can.

    Raises:
        OSError: the disk refused.
    """
    if sys.platform == "linux" and _reflinked(source, target):
        return "reflink"
    import shutil

    shutil.copyfile(source, target)
    return "copy"


def _reflinked(source: Path, target: Path) -> bool:
    """Ask the file system (btrfs, xfs) to share the blocks; False when it cannot."""
    import fcntl

    with source.open("rb") as reading, target.open("xb") as writing, suppress(OSError):
        fcntl.ioctl(writing.fileno(), FICLONE, reading.fileno())
        return True
    return False
