"""Fakes and checks for tests of plugins, and for our own.

Each name is imported when it is first used: pytest loads this package in every session.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.testing.compressors import compression_job as compression_job
    from ovrecipe.testing.conversation import fake_chat as fake_chat
    from ovrecipe.testing.filters import assert_chunk_invariant as assert_chunk_invariant
    from ovrecipe.testing.filters import filtered as filtered
    from ovrecipe.testing.frontends import FakeGeneration as FakeGeneration
    from ovrecipe.testing.frontends import Shown as Shown
    from ovrecipe.testing.frontends import shown as shown
    from ovrecipe.testing.pipeline import FakePipeline as FakePipeline
    from ovrecipe.testing.plugins import assert_plugin_conforms as assert_plugin_conforms
    from ovrecipe.testing.plugins import plugins_with as plugins_with
    from ovrecipe.testing.smollm2 import make_smollm2_project as make_smollm2_project

#: Where each public name lives.
_HOMES = {
    "FakeGeneration": "ovrecipe.testing.frontends",
    "FakePipeline": "ovrecipe.testing.pipeline",
    "Shown": "ovrecipe.testing.frontends",
    "assert_chunk_invariant": "ovrecipe.testing.filters",
    "assert_plugin_conforms": "ovrecipe.testing.plugins",
    "fake_chat": "ovrecipe.testing.conversation",
    "compression_job": "ovrecipe.testing.compressors",
    "filtered": "ovrecipe.testing.filters",
    "make_smollm2_project": "ovrecipe.testing.smollm2",
    "plugins_with": "ovrecipe.testing.plugins",
    "shown": "ovrecipe.testing.frontends",
}

__all__ = [
    "FakeGeneration",
    "FakePipeline",
    "Shown",
    "assert_chunk_invariant",
    "assert_plugin_conforms",
    "compression_job",
    "fake_chat",
    "filtered",
    "make_smollm2_project",
    "plugins_with",
    "shown",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ovrecipe.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
