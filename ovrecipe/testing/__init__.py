"""Fakes and checks for tests of plugins, and for our own.

Each name is imported when it is first used: pytest loads this package in every session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.testing.checks import assert_chunk_invariant as assert_chunk_invariant
    from ovrecipe.testing.checks import assert_imports_public_names as assert_imports_public_names
    from ovrecipe.testing.checks import assert_plugin_conforms as assert_plugin_conforms
    from ovrecipe.testing.checks import compression_job as compression_job
    from ovrecipe.testing.checks import filtered as filtered
    from ovrecipe.testing.checks import plugins_with as plugins_with
    from ovrecipe.testing.doubles import FakePipeline as FakePipeline
    from ovrecipe.testing.doubles import Shown as Shown
    from ovrecipe.testing.doubles import fake_chat as fake_chat
    from ovrecipe.testing.doubles import shown as shown

#: Where each public name lives.
_HOMES = {
    "FakePipeline": "ovrecipe.testing.doubles",
    "Shown": "ovrecipe.testing.doubles",
    "assert_chunk_invariant": "ovrecipe.testing.checks",
    "assert_imports_public_names": "ovrecipe.testing.checks",
    "assert_plugin_conforms": "ovrecipe.testing.checks",
    "fake_chat": "ovrecipe.testing.doubles",
    "compression_job": "ovrecipe.testing.checks",
    "filtered": "ovrecipe.testing.checks",
    "plugins_with": "ovrecipe.testing.checks",
    "shown": "ovrecipe.testing.doubles",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ovrecipe.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
