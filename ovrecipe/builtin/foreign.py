"""The boundary to the libraries that do the work: their exceptions become ours here."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovrecipe.errors import DiskFull, OvrecipeError, StageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How many characters of a foreign message are shown; all of it is in the stage's log.
SHOWN_CHARACTERS = 1200


@contextmanager
def foreign_errors(doing: str, *, remedy: str | None = None) -> Iterator[None]:
    """Turn whatever a library raises into a StageError that starts with `doing`.

    The library's own traceback goes to standard error, which is the stage's log.

    Raises:
        StageError: the library gave up; its message is part of ours.
        DiskFull: it gave up because nothing more fits on the disk.
    """
    try:
        yield
    except OvrecipeError:
        raise
    except Exception as error:
        import traceback  # costs a no-op build 2 ms, and it never fails here

        traceback.print_exc()
        raise translated(error, doing, remedy) from error


def translated(error: Exception, doing: str, remedy: str | None) -> OvrecipeError:
    """Return what to tell the user about a foreign exception."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return DiskFull(f"{doing}: no space left on the disk", remedy="free some, or 'ovrecipe gc'")
    if isinstance(error, MemoryError):
        return StageError(
            f"{doing}: out of memory", remedy="close programs, or take a smaller model"
        )
    text = str(error).strip()
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
    return StageError(f"{doing}: {type(error).__name__}: {shown}", remedy=remedy)
