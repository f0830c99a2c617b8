"""`ovrecipe.lock`: which content a model's id and revision meant when it was first built.

The file lies beside `recipes/` and is meant to be committed, so that a colleague's build and
next year's build read the same checkpoint.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, JsonValue, ValidationError

from ovrecipe.errors import ProjectError, RecipeSyntaxError
from ovrecipe.store.disk import WRITABLE_PROJECT, disk_errors, replace_atomically
from ovrecipe.store.locks import held, unlink_held
from ovrecipe.types import Json


class _Pin(BaseModel, extra="forbid", strict=True):
    model: str
    revision: str | None
    pin: dict[str, JsonValue]


class _LockFile(BaseModel, extra="forbid", strict=True):
    schema_version: Literal[1] = Field(alias="schema")
    pins: list[_Pin]


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
        guard = self.lock_path.with_name(f".{self.lock_path.name}.guard")
        with disk_errors(self.lock_path.parent, remedy=WRITABLE_PROJECT), held(guard):
            pins = _read(self.lock_path)
            if pins.get((model_id, revision)) != dict(pin):
                pins[model_id, revision] = dict(pin)
                ordered = sorted(pins, key=lambda name: (name[0], name[1] or ""))
                entries = [{"model": m, "revision": rev, "pin": pins[m, rev]} for m, rev in ordered]
                document = {"schema": 1, "pins": entries}
                text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
                replace_atomically(self.lock_path, f"{text}\n")
            unlink_held(guard)


def _read(path: Path) -> dict[tuple[str, str | None], dict[str, Json]]:
    try:
        data = path.read_bytes()
        found = _LockFile.model_validate_json(data)
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise _refusal(path, data, error) from error
    return {(entry.model, entry.revision): entry.pin for entry in found.pins}


def _refusal(path: Path, data: bytes, error: ValidationError) -> ProjectError:
    """Return the error with its place; JSON is YAML, whose reader knows where a value is."""
    from ovrecipe.recipe.problems import problems_of
    from ovrecipe.recipe.yaml_reader import Node, Place, read_yaml

    tree = Node({}, Place(str(path), 1, 1))
    with suppress(RecipeSyntaxError):
        tree = read_yaml(data, str(path), [])
    first = problems_of(error, model=_LockFile, tree=tree)[0]
    if found := re.search(r"^is not JSON .* line (\d+) column (\d+)", first.reason):
        first = first._replace(place=Place(str(path), int(found[1]), int(found[2]) or 1))
    return ProjectError(
        str(first),
        remedy="take the file from version control again, or delete it: the next build records\n"
        "what each revision means then",
    )
