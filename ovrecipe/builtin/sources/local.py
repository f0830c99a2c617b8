"""The `local` source: a checkpoint directory on this machine, linked and never copied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.builtin.sources.checkpoint_checks import check_contents, check_names
from ovrecipe.builtin.sources.links import link_files
from ovrecipe.builtin.sources.paths import user_path
from ovrecipe.builtin.sources.selection import wanted_files
from ovrecipe.builtin.sources.unchanged import changed, require_unchanged
from ovrecipe.errors import CheckpointNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ovrecipe.hooks.roles import Json, Progress, SourceRequest


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

    def fetch(
        self,
        request: SourceRequest,
        pin: Mapping[str, Json],
        checkpoint_dir: Path,
        progress: Progress,
    ) -> None:
        """Link the files; the directory stays as it is.

        Raises:
            SourceError: the files are damaged or unsafe, or were changed since they were pinned.
        """
        source_dir = _directory(request)
        progress(f"linking {source_dir.name}")
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
