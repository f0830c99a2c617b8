"""What recipes and variants may be called: names that every system takes as a file's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Strict

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


T = TypeVar("T")


def _refuse_change(self: object, *args: object, **kwargs: object) -> NoReturn:  # noqa: ARG001
    raise TypeError("a recipe cannot be changed after it was read")


class FrozenDict(dict[str, T]):
    """A dict that refuses every change; a dict, so that json and pydantic write it as one."""

    __setitem__ = _refuse_change
    __delitem__ = _refuse_change
    __ior__: Callable[..., NoReturn] = _refuse_change
    clear = _refuse_change
    pop: Callable[..., NoReturn] = _refuse_change
    popitem = _refuse_change
    setdefault: Callable[..., NoReturn] = _refuse_change
    update: Callable[..., NoReturn] = _refuse_change

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as a whole: the default way fills a dict item by item."""
        return type(self), (dict(self),)


def frozen(value: Any) -> Any:
    """Return the value with every mapping in it frozen and every list a tuple."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(each) for key, each in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(each) for each in value)
    return value


#: A mapping of a recipe; give it as `FrozenMapping[Key, Value]`.
Key = TypeVar("Key")
Value = TypeVar("Value")
FrozenMapping: TypeAlias = Annotated[Mapping[Key, Value], AfterValidator(frozen)]

#: A YAML list; strict pydantic would take tuples only. What is in it stays strict.
Listed: TypeAlias = Annotated[tuple[Value, ...], Strict(strict=False)]


PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
LETTERS = "a name is letters, digits, '.', '-' and '_', and starts with a letter or digit"
#: Windows keeps these for devices, with any ending: `nul.yaml` is the device too.
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)


def name_objection(name: str) -> str | None:
    """Return what is wrong with the name of a recipe or variant; None when nothing is.

    The same on every system: a recipe written on one is built on another.
    """
    if not re.fullmatch(PATTERN, name):
        return LETTERS
    if name.endswith("."):
        return "a name does not end in '.', which Windows drops"
    if name.partition(".")[0].lower() in DEVICES:
        return f"Windows keeps '{name.partition('.')[0]}' for a device"
    return None
