"""What the processes of models have in common: where they find one, and how they tell errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.errors import OvrecipeError
    from ovrecipe.processes import Events


def where(job: Mapping[str, Any], events: Events) -> dict[str, Any]:
    """Return what `ovrecipe.load` and `load_engine` are given alike; an export has no project."""
    from ovrecipe.hooks.plugins import load_plugins
    from ovrecipe.recipe.project import find_project
    from ovrecipe.run.exported import export_folder

    env = dict(os.environ)
    is_export = export_folder(job["target"]) is not None
    return {
        "target": job["target"],
        "device": job["device"],
        "project": None if is_export else find_project(Path.cwd(), env),
        "plugins": load_plugins(env=env, options=job["plugin_options"]),
        "announce": lambda message: events.send("announce", message=message),
    }


def told(error: OvrecipeError) -> Mapping[str, Any]:
    """Return what the server makes an error of again."""
    return {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
