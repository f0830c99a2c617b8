"""sha256 of files, remembered so that an unchanged file is read once."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.json_files import read_object
from ovrecipe.store.disk import WINDOWS, replace_atomically

#: Two writes within the clock's resolution look the same to stat; git calls this "racily clean".
RACY_NS = 2_000_000_000


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass
class RememberedDigests:
    """Digests by real path and stat, kept in a JSON file; the role `FileDigests`.

    The file is a cache and nothing else: when it is missing, broken or cannot be written,
    files are hashed again.
    """

    path: Path
    now_ns: Callable[[], int] = time.time_ns
    _guard: Lock = field(default_factory=Lock, init=False)

    @cached_property
    def _digests(self) -> dict[str, list[Any]]:
        return self._read()

    def sha256(self, path: Path) -> str:
        """Return the hex digest of a file; hashes it only when its stat changed.

        Raises:
            OSError: the file cannot be read.
        """
        real = os.path.realpath(path)
        before = _identity(real)
        remembered = self._digests.get(real)
        if remembered is not None and remembered[:-1] == before:
            return str(remembered[-1])
        digest = sha256_of(Path(real))
        is_settled = self.now_ns() - max(before[1:3]) > RACY_NS
        if _identity(real) == before and is_settled:
            with self._guard:
                # Read again: what other builds remembered since is kept. An entry lost between
                # this read and the replace costs one more hash, nothing else.
                self._digests = {**self._read(), **self._digests, real: [*before, digest]}
                self._write(self._digests)
        return digest

    def forget_missing(self) -> None:
        """Drop the digests of files that are gone."""
        with self._guard:
            found = self._read()
            kept = {path: entry for path, entry in found.items() if Path(path).exists()}
            if kept != found:
                self._write(kept)
            self._digests = kept

    def _read(self) -> dict[str, list[Any]]:
        found: dict[str, Any] = {}
        with suppress(OvrecipeError):
            found = read_object(self.path)
        return {path: row for path, row in found.items() if isinstance(row, list) and len(row) == 6}

    def _write(self, digests: dict[str, list[Any]]) -> None:
        # A full or read-only disk costs the memory, not the answer.
        with suppress(OSError):
            replace_atomically(self.path, json.dumps(digests, indent=0), durable=False)


def _identity(real: str) -> list[int]:
    found = os.stat(real)  # noqa: PTH116  # the path is a string already, and this is the hot path
    # A program that edits in place may put st_mtime back; nothing puts st_ctime back. On Windows
    # it is the time of creation, and says nothing.
    changed_ns = 0 if WINDOWS else found.st_ctime_ns
    return [found.st_size, found.st_mtime_ns, changed_ns, found.st_ino, found.st_dev]
