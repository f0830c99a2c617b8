"""The `local` source: a checkpoint directory on this machine, linked and never copied."""

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ovrecipe.builtin.checkpoint import check_contents, check_names, wanted_files
from ovrecipe.errors import CheckpointNotFound, SourceError, disk_full, is_disk_full
from ovrecipe.hooks.roles import FileDigests, SourceRequest
from ovrecipe.recipe.schema import Model
from ovrecipe.recipe.tasks import GENERATION, TaskName
from ovrecipe.types import Json

#: ERROR_PRIVILEGE_NOT_HELD: Windows wants Developer Mode or an administrator for symbolic links.
NO_PRIVILEGE = 1314


class LocalSource:
    """Reads `model.id: ./directory`."""

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the digest of each file that would be taken."""
        source_dir, names = _wanted(request)
        return {"files": {name: request.digests.sha256(source_dir / name) for name in names}}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Link the files, unchanged since they were pinned; the directory stays as it is.

        Raises:
            CheckpointIncomplete: something is missing, or was changed since.
        """
        source_dir, names = _wanted(request)
        request.progress(f"linking {source_dir.name}")
        link_files(names, source_dir, checkpoint_dir)
        check_contents(str(source_dir), checkpoint_dir, request.model, request.recipe.task)
        pinned = pin["files"]
        if not isinstance(pinned, dict) or {*names} != {*pinned}:
            raise _changed(source_dir)
        for name in names:
            check_unchanged(source_dir / name, pinned[name], request.digests)


def user_path(request: SourceRequest) -> Path:
    """Return the path that `model.id` names: `~` is the user's home, the recipe's folder the start.

    The home comes from the environment that was handed in, not from this process.
    """
    home = request.env.get("HOME") or request.env.get("USERPROFILE")
    if home and request.location[:2] in ("~", "~/", "~\\"):
        return Path(home, request.location[2:])
    return request.recipe_dir / request.location


def _wanted(request: SourceRequest) -> tuple[Path, tuple[str, ...]]:
    """Return the directory and the names to take from it."""
    path = Path(os.path.normpath(user_path(request)))
    if path.is_dir():
        return path, names_in(str(path), path, request.model, request.recipe.task)
    if path.exists():
        message = f"{path}: is a file; a local model.id is a checkpoint's directory or a .gguf file"
        raise CheckpointNotFound(message, remedy=f"perhaps you meant {path.parent}")
    remedy = "give a checkpoint's directory; paths in a recipe start from the recipe's own folder"
    raise CheckpointNotFound(f"{path}: there is no such directory", remedy=remedy)


def names_in(
    where: str, source_dir: Path, model: Model, task: TaskName = GENERATION
) -> tuple[str, ...]:
    """Return the names to take from a folder, those in hidden ones such as `.git` left out.

    Raises:
        CheckpointIncomplete: files that every checkpoint needs are missing.
        CheckpointUnsafe: the weights are pickles.
    """
    names = []
    for folder, folders, files in os.walk(source_dir):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [path for path in (Path(folder, name) for name in files) if path.is_file()]
        names += [path.relative_to(source_dir).as_posix() for path in paths]
    check_names(where, names, model)
    return wanted_files(names, model, task)


def link_files(names: Iterable[str], from_dir: Path, checkpoint_dir: Path) -> None:
    """Link each file under its name; gigabytes are never copied, the originals never touched.

    Raises:
        SourceError: this system lets the user make neither symbolic nor hard links there.
        DiskFull: there is no room for a link.
    """
    for name in names:
        link, target = checkpoint_dir / name, from_dir.absolute() / name
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            _link(link, target)
        except OSError as exc:
            if is_disk_full(exc):
                raise disk_full(str(link.parent)) from exc
            move = "switch on Developer Mode, or put the store on the same drive (OVRECIPE_STORE)"
            remedy = move if exc.errno in (errno.EPERM, errno.EXDEV) else None
            message = f"{target} cannot be linked into the store: {exc.strerror}"
            raise SourceError(message, remedy=remedy) from exc


def _link(link: Path, target: Path) -> None:
    """Make a symbolic link, or a hard one where the file system or Windows has no others."""
    try:
        link.symlink_to(target)
    except (NotImplementedError, OSError) as exc:
        is_other_trouble = isinstance(exc, OSError) and exc.errno != errno.EPERM
        if is_other_trouble and getattr(exc, "winerror", None) != NO_PRIVILEGE:
            raise
        os.link(target.resolve(), link)


def check_unchanged(path: Path, pinned: Json, digests: FileDigests) -> None:
    """Compare a file with its pinned digest; ask this after reading it.

    Raises:
        SourceError: it is another file by now, or gone; keys were made from what it was.
    """
    with suppress(OSError):
        if digests.sha256(path) == pinned:
            return
    raise _changed(path)


def _changed(path: Path) -> SourceError:
    return SourceError(f"{path}: changed while it was read", remedy="build again")
