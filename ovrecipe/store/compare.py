"""Why an artifact is not the wanted one: its key against the nearest one in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ovrecipe.errors import ArtifactCorrupt
    from ovrecipe.hooks.roles import Json
    from ovrecipe.store.key import Key
    from ovrecipe.store.manifest import Manifest
    from ovrecipe.store.store import Store


class Absent:
    """What stands for a field that one of two documents does not have; null is a value."""

    def __repr__(self) -> str:
        return "(absent)"


ABSENT = Absent()
Side: TypeAlias = "Json | Absent"


class Difference(NamedTuple):
    """One field that differs; `path` is dotted, `compression.group_size`."""

    path: str
    stored: Side
    wanted: Side


def nearest(store: Store, key: Key, damaged: Callable[[ArtifactCorrupt], None]) -> Manifest | None:
    """Return the stored artifact of the key's stage with the fewest differing fields.

    Of several, the newest. None when the stage never made anything. `damaged` is called for
    each artifact, of any stage, that cannot be read.
    """
    candidates = [each for stage, _, each in store.artifacts(damaged) if stage == key.stage]
    by_age = sorted(candidates, key=lambda each: each.created, reverse=True)
    return min(by_age, key=lambda each: len(differences(key.document, each.key)), default=None)


def differences(wanted: Mapping[str, Json], stored: Mapping[str, Json]) -> list[Difference]:
    """Return the fields in which two key documents differ, by path."""
    return sorted(_differing("", dict(wanted), dict(stored)), key=lambda each: each.path)


def _differing(path: str, wanted: Side, stored: Side) -> Iterator[Difference]:
    if isinstance(wanted, dict) and isinstance(stored, dict):
        for name in {**wanted, **stored}:
            inner = f"{path}.{name}" if path else name
            yield from _differing(inner, wanted.get(name, ABSENT), stored.get(name, ABSENT))
    elif isinstance(wanted, list) and isinstance(stored, list):
        for index in range(max(len(wanted), len(stored))):
            yield from _differing(f"{path}[{index}]", _at(wanted, index), _at(stored, index))
    elif not _same(wanted, stored):
        yield Difference(path, stored, wanted)


def _at(values: Sequence[Json], index: int) -> Side:
    return values[index] if index < len(values) else ABSENT


def _same(wanted: Side, stored: Side) -> bool:
    # 1, 1.0 and True are equal in Python and different texts in a key; so are 0.0 and -0.0.
    return type(wanted) is type(stored) and repr(wanted) == repr(stored)
