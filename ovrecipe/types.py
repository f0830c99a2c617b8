"""Types that every folder shares: JSON values and the protocol of progress."""

from __future__ import annotations

from typing import Protocol, TypeAlias

#: A JSON value; what keys and pins are made of.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class Progress(Protocol):
    """Where long work says how far it is; safe to call often and from any thread."""

    def __call__(
        self,
        message: str,
        *,
        done: float | None = None,
        total: float | None = None,
        unit: str = "",
    ) -> None:
        """Show `message`, and `done` of `total` where the end is known; `unit` "B" is bytes."""
