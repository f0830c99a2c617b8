"""From a recipe file to a checked, fast OpenVINO language model that answers.

    import ovrecipe

    with ovrecipe.load("smollm2-135m:int4") as model:
        print(model.generate("What is the capital of France?", greedy=True).text)

Importing this module is cheap: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.errors import OvrecipeError as OvrecipeError
    from ovrecipe.hooks.provided import section_of as section_of
    from ovrecipe.hooks.specs import hookimpl as hookimpl
    from ovrecipe.recipe.project import Project as Project
    from ovrecipe.recipe.project import find_project as find_project
    from ovrecipe.run.engine import Engine as Engine
    from ovrecipe.run.genai import list_devices as list_devices
    from ovrecipe.run.generation import Generation as Generation
    from ovrecipe.run.load import load as load
    from ovrecipe.run.load import load_engine as load_engine
    from ovrecipe.run.runner import Chat as Chat
    from ovrecipe.run.runner import Runner as Runner
    from ovrecipe.run.vectors import Embedder as Embedder
    from ovrecipe.run.vectors import Ranked as Ranked
    from ovrecipe.run.vectors import Reranker as Reranker
    from ovrecipe.types import GenerationResult as GenerationResult
    from ovrecipe.types import Metrics as Metrics
    from ovrecipe.version import __version__ as __version__

#: Where each public name lives; other programs and plugins need no more.
_HOMES = {
    "load": "ovrecipe.run.load",
    "load_engine": "ovrecipe.run.load",
    "Engine": "ovrecipe.run.engine",
    "Runner": "ovrecipe.run.runner",
    "Generation": "ovrecipe.run.generation",
    "GenerationResult": "ovrecipe.types",
    "Metrics": "ovrecipe.types",
    "Chat": "ovrecipe.run.runner",
    "Embedder": "ovrecipe.run.vectors",
    "Reranker": "ovrecipe.run.vectors",
    "Ranked": "ovrecipe.run.vectors",
    "list_devices": "ovrecipe.run.genai",
    "OvrecipeError": "ovrecipe.errors",
    "hookimpl": "ovrecipe.hooks.specs",
    "section_of": "ovrecipe.hooks.provided",
    "Project": "ovrecipe.recipe.project",
    "find_project": "ovrecipe.recipe.project",
    "__version__": "ovrecipe.version",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ovrecipe' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
