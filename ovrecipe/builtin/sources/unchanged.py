"""What was read must be what was pinned: a key that lies about its content is never corrected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.hooks.roles import FileDigests, Json


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
