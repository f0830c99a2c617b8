"""The variants of a loaded model's recipe, for those who want another one in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ovrecipe.run.runner import Runner


@dataclass(frozen=True)
class Variants:
    """What is built by now, and how one is loaded.

    `sizes_bytes` returns the built variants in the recipe's order, each with the bytes of its
    weights; `load` loads one on the same device with the same plugins and properties.
    """

    sizes_bytes: Callable[[], Mapping[str, int]]
    load: Callable[[str], Runner]
