"""Named views: `models/NAME/VARIANT` leads to an artifact, so any OpenVINO program can open it."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ovrecipe.errors import StoreError
from ovrecipe.store import disk
from ovrecipe.store.locks import used
from ovrecipe.store.store import Store

ROOTS = ".roots"
#: The folder, below that of the named views, of those to what a gate has refused.
REFUSED = ".unaccepted"


def registered_views(store_root: Path) -> list[Path]:
    """Return the folders of views that lead into the store, those that are gone left out."""
    notes = [note for note in disk.entries(store_root / ROOTS) if not note.name.startswith(".")]
    found = [Path(note.read_text(encoding="utf-8").rstrip("\n")) for note in notes]
    return [path for path in found if path.is_dir()]


class View(NamedTuple):
    """One named view; `target` is None when the artifact it led to is gone."""

    name: str
    variant: str
    path: Path
    target: Path | None


def set_view(store: Store, models_dir: Path, name: str, variant: str, artifact_dir: Path) -> Path:
    """Let `models_dir/name/variant` lead to an artifact; on POSIX it is never missing meanwhile.

    Raises:
        StoreError: there is a folder or file of the user's in its place, or no artifact.
        StoreNotWritable, DiskFull: the disk refused.
    """
    view = models_dir / name / variant
    with (
        disk.disk_errors(models_dir, remedy=disk.WRITABLE_PROJECT),
        used(store.use_path(artifact_dir.name)),
    ):
        # From here on `gc` cannot remove it: what is used stays, and what a view leads to.
        if not artifact_dir.is_dir():
            raise StoreError(
                f"{view}: the artifact it should lead to, {artifact_dir}, is gone",
                remedy="build again; what is still there is not made again",
            )
        view.parent.mkdir(parents=True, exist_ok=True)
        _check_ours(view)
        if not leads_to(view, artifact_dir):
            _replace(view, artifact_dir)
            disk.fsync(view.parent)
        _register(store.root, models_dir)
    return view


def _register(store_root: Path, models_dir: Path) -> None:
    """Note that the views in a folder lead into the store; noting it again changes nothing."""
    text = f"{models_dir.absolute()}\n"
    note = store_root / ROOTS / hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
    if not note.exists():
        note.parent.mkdir(exist_ok=True)
        disk.replace_atomically(note, text)


def view_target(models_dir: Path, name: str, variant: str) -> Path | None:
    """Return the artifact's folder that a view leads to; None when there is none or it is gone."""
    view = models_dir / name / variant
    target = Path(os.path.realpath(view))
    return target if is_link(view) and target.is_dir() else None


def leads_to(view: Path, artifact_dir: Path) -> bool:
    """Tell whether a view leads to that very folder, and the folder is there.

    A project may be reached through a link itself, so equal paths are too much to ask.
    """
    return is_link(view) and artifact_dir.is_dir() and view.is_dir() and view.samefile(artifact_dir)


def remove_view(models_dir: Path, name: str, variant: str) -> bool:
    """Remove a view and, when it was the last of its name, the folder; say whether it was there.

    Raises:
        StoreError: there is a folder or file of the user's in its place.
    """
    view = models_dir / name / variant
    if not os.path.lexists(view):
        return False
    _check_ours(view)
    with disk.disk_errors(models_dir, remedy=disk.WRITABLE_PROJECT):
        _unlink(view)
        if not any(view.parent.iterdir()):
            view.parent.rmdir()
    return True


def views(models_dir: Path) -> Iterator[View]:
    """Yield every view, dangling ones too, in a fixed order; what is not a view is left alone."""
    for folder in disk.entries(models_dir):
        for view in disk.entries(folder):
            if is_link(view) and not view.name.startswith("."):
                target = view_target(models_dir, folder.name, view.name)
                yield View(folder.name, view.name, view, target)


def is_link(path: Path) -> bool:
    """Tell whether a path is a symbolic link or a Windows junction."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    # Path.is_junction came with Python 3.12.
    tag = getattr(found, "st_reparse_tag", 0)
    return stat.S_ISLNK(found.st_mode) or tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)


def _check_ours(view: Path) -> None:
    if os.path.lexists(view) and not is_link(view):
        raise StoreError(
            f"{view} is a folder or file of its own, not a view made by ovrecipe",
            remedy="move it elsewhere, or put the views elsewhere with OVRECIPE_MODELS",
        )


def _replace(view: Path, artifact_dir: Path) -> None:
    if disk.WINDOWS:
        import _winapi

        # A junction needs no privilege, unlike a symbolic link; but it cannot be replaced.
        if os.path.lexists(view):
            _unlink(view)
        _winapi.CreateJunction(str(artifact_dir.resolve()), str(view))  # type: ignore[attr-defined]
        return
    # Relative, so that a project can be moved or mounted elsewhere as a whole.
    target = os.path.relpath(artifact_dir.resolve(), view.parent.resolve())
    temporary = view.with_name(f".{view.name}.{disk.random_name()}")
    temporary.symlink_to(target, target_is_directory=True)
    try:
        temporary.replace(view)
    finally:
        temporary.unlink(missing_ok=True)


def _unlink(view: Path) -> None:
    if disk.WINDOWS and not view.is_symlink():
        view.rmdir()
    else:
        view.unlink()
