"""A user's calibration texts: one a line, as plain text or as JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIELD = "text"


def read_texts(path: Path, *, at_most: int) -> list[str]:
    """Return the first texts of a `.jsonl` or `.txt` file, in its order; blank lines are skipped.

    Raises:
        StageError: the file cannot be read, is not UTF-8, holds a line without a text, or no
            text at all; the message names the line.
    """
    texts = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        texts.append(_json_text(path, number, line) if path.suffix == ".jsonl" else line.strip())
        if len(texts) == at_most:
            break
    if not texts:
        raise StageError(f"data set {path.name} has no text", remedy="write one sample a line")
    return texts


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines; a file larger than memory is read only as far as needed."""
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                yield number, _decoded(path, number, raw)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StageError(f"data set {path.name} cannot be read: {reason}") from error


def _decoded(path: Path, number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise StageError(
            f"{path.name}:{number}: not UTF-8 (byte {error.start + 1} of the line)",
            remedy="save the data set as UTF-8",
        ) from error


def _json_text(path: Path, number: int, line: str) -> str:
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise StageError(f"{path.name}:{number}: not JSON: {error}") from error
    text = value.get(FIELD) if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        raise StageError(
            f"{path.name}:{number}: no text in it",
            remedy=f'each line is {{"{FIELD}": "..."}} or a JSON string',
        )
    return text
