"""Keys: what a stage reads and the sha256 of that; and how two differ."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

from ovrecipe.types import Json
from ovrecipe.wording import SHORT

#: A stage's name is a folder of the store, also on file systems that ignore case.
STAGE_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Key:
    """What a stage reads, as a JSON document, and its sha256.

    `document["inputs"]`, if any, maps names to the sha256 of other keys; `gc` follows it.

    Raises:
        TypeError: the document has something that is not plain JSON.
        ValueError: a number is not finite, or the stage's name cannot be a folder's.
    """

    stage: str
    document: Mapping[str, Json] = field(compare=False)
    canonical: str = field(init=False, repr=False, compare=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if not STAGE_NAME.fullmatch(self.stage):
            raise ValueError(f"{self.stage!r} is no stage name: it must match {STAGE_NAME.pattern}")
        document = _plain_json(self.document, "document")
        whole = {"document": document, "stage": self.stage}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
        # Frozen for everyone else: the document is a copy, so what was hashed is what is kept.
        object.__setattr__(self, "document", document)
        object.__setattr__(self, "canonical", text)
        object.__setattr__(self, "sha256", hashlib.sha256(text.encode("ascii")).hexdigest())

    @property
    def short(self) -> str:
        """The first twelve digits, for messages and folder names that people read."""
        return self.sha256[:SHORT]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The sha256 of the keys that this one is made from."""
        return inputs_of(self.document)

    def __str__(self) -> str:
        return f"{self.stage} {self.short}"


def inputs_of(document: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the sha256 of the inputs that a key's document names."""
    inputs = document.get("inputs")
    if not isinstance(inputs, Mapping):
        return ()
    return tuple(sha256 for sha256 in inputs.values() if isinstance(sha256, str))


def _plain_json(value: Any, where: str) -> Json:
    """Return a deep copy of plain JSON, with tuples as lists.

    Exact types only: an enum or a numpy number would be written by its own idea of a text, and
    that idea changes between versions.
    """
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} is not a JSON number")
        return value
    if isinstance(value, list | tuple):
        return [_plain_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise TypeError(f"{where}: the key {key!r} is not a string")
        return {key: _plain_json(value[key], f"{where}.{key}") for key in value}
    raise TypeError(f"{where}: {type(value).__name__} is not plain JSON")


class Absent:
    """What stands for a field that one of two documents does not have; null is a value."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = Absent()
Side: TypeAlias = "Json | Absent"


class FieldDifference(NamedTuple):
    """One field that differs; `path` is dotted, `compression.group_size`."""

    path: str
    stored: Side
    wanted: Side


def differences(wanted: Mapping[str, Json], stored: Mapping[str, Json]) -> list[FieldDifference]:
    """Return the fields in which two key documents differ, by path."""
    return sorted(_differing("", dict(wanted), dict(stored)), key=lambda found: found.path)


def _differing(path: str, wanted: Side, stored: Side) -> Iterator[FieldDifference]:
    if isinstance(wanted, dict) and isinstance(stored, dict):
        for name in {**wanted, **stored}:
            inner = f"{path}.{name}" if path else name
            yield from _differing(inner, wanted.get(name, ABSENT), stored.get(name, ABSENT))
    elif isinstance(wanted, list) and isinstance(stored, list):
        for index, sides in enumerate(zip_longest(wanted, stored, fillvalue=ABSENT)):
            yield from _differing(f"{path}[{index}]", *sides)
    # 1, 1.0 and True are equal in Python and different texts in a key; so are 0.0 and -0.0.
    elif type(wanted) is not type(stored) or repr(wanted) != repr(stored):
        yield FieldDifference(path, stored, wanted)
