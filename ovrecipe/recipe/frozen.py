"""Mappings and lists that nobody can change after a recipe was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

from pydantic import AfterValidator, Strict

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
