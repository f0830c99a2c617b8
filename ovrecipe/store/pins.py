"""`ovrecipe.lock`: which content a model's id and revision meant when it was first built.

The file lies beside `recipes/` and is meant to be committed, so that a colleague's build and
next year's build read the same checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovrecipe.types import Json

SCHEMA = 1


@dataclass(frozen=True)
class Pins:
    """The pins in one lock file; every call reads it, for another build may have written it."""

    lock_path: Path

    def get(self, model_id: str, revision: str | None) -> dict[str, Json] | None:
        """Return what was recorded for a model, or None.

        Raises:
            ProjectError: the file is not one that `record` wrote; with file and line.
        """
        return _read(self.lock_path).get((model_id, revision))

    def record(self, model_id: str, revision: str | None, pin: Mapping[str, Json]) -> None:
        """Remember a pin, in place of an older one for the same id and revision.

        Raises:
            ProjectError: the file is malformed, so nothing was written.
            StoreNotWritable, DiskFull: the disk refused.
        """
        from ovrecipe.store.disk import disk_errors, replace_atomically
        from ovrecipe.store.locks import held, unlink_held

        guard = self.lock_path.with_name(f".{self.lock_path.name}.guard")
        with disk_errors(self.lock_path.parent), held(guard):
            pins = _read(self.lock_path)
            if pins.get((model_id, revision)) != dict(pin):
                pins[model_id, revision] = dict(pin)
                replace_atomically(self.lock_path, _text(pins))
            unlink_held(guard)


_Pins = dict[tuple[str, str | None], dict[str, "Json"]]


def _text(pins: _Pins) -> str:
    ordered = sorted(pins.items(), key=lambda each: (each[0][0], each[0][1] or ""))
    entries = [{"model": model, "revision": rev, "pin": pin} for (model, rev), pin in ordered]
    document = {"schema": SCHEMA, "pins": entries}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _read(path: Path) -> _Pins:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _refusal(path, 1, f"is not UTF-8 text ({error.reason})") from error
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _refusal(path, error.lineno, f"is not JSON ({error.msg})") from error
    return dict(_entries(path, text, document))


def _entries(
    path: Path, text: str, document: Any
) -> list[tuple[tuple[str, str | None], dict[str, Json]]]:
    match document:
        case {"schema": int(schema), "pins": list(pins)} if schema == SCHEMA:
            return [_entry(path, text, index, each) for index, each in enumerate(pins)]
        case {"schema": int(schema)} if schema != SCHEMA:
            raise _refusal(path, 1, f"has schema {schema}, this version reads {SCHEMA}")
    raise _refusal(path, 1, "is no list of pins")


def _entry(
    path: Path, text: str, index: int, entry: Any
) -> tuple[tuple[str, str | None], dict[str, Json]]:
    match entry:
        case {"model": str(model), "revision": str() | None as revision, "pin": dict(pin)}:
            return (model, revision), pin
    what = f"pin {index + 1} needs 'model', 'revision' and 'pin'"
    raise _refusal(path, _line_of(text, index), what)


def _line_of(text: str, index: int) -> int:
    """Return the line where the entry of that index starts, by decoding those before it."""
    decoder = json.JSONDecoder()
    position = text.index("[") + 1
    for _ in range(index):
        position = decoder.raw_decode(text, _skip(text, position))[1]
    return text.count("\n", 0, _skip(text, position)) + 1


def _skip(text: str, position: int) -> int:
    while text[position] in " \t\r\n,":
        position += 1
    return position


def _refusal(path: Path, line: int, what: str) -> ProjectError:
    return ProjectError(
        f"{path}:{line}: {what}",
        remedy="take the file from version control again, or delete it: the next build records\n"
        "what each revision means then",
    )
