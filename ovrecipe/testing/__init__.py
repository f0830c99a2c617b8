"""Fakes and checks for tests of plugins, and for our own.

Each name is imported when it is first used: pytest loads this package in every session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.testing.plugins import assert_plugin_conforms as assert_plugin_conforms
    from ovrecipe.testing.plugins import plugins_with as plugins_with

#: Where each public name lives.
_HOMES = {
    "assert_plugin_conforms": "ovrecipe.testing.plugins",
    "plugins_with": "ovrecipe.testing.plugins",
}

__all__ = ["assert_plugin_conforms", "plugins_with"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ovrecipe.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
