"""The base class of every section of a recipe, and how a section refuses what it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable


class Section(BaseModel):
    """A frozen part of a recipe that refuses unknown keys and does not guess at types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


@dataclass(frozen=True)
class Objection:
    """One thing that is wrong: `keys` lead from the section to it, `reason` says what it is."""

    keys: tuple[str | int, ...]
    reason: str


class Refused(ValueError):
    """What a validator raises when keys of one section do not fit together."""

    def __init__(self, objections: Iterable[Objection]) -> None:
        """Keep all of them, so that a user sees them at once."""
        self.objections = tuple(objections)
        super().__init__("; ".join(f"{_dotted(o.keys)}: {o.reason}" for o in self.objections))


def _dotted(keys: tuple[str | int, ...]) -> str:
    return ".".join(str(key) for key in keys)


def refuse(objections: Iterable[Objection]) -> None:
    """Raise Refused if there is anything to object to."""
    found = tuple(objections)
    if found:
        raise Refused(found)
