"""doit's door to the graph: what a project's dodo.py imports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build.context import BuildContext
from ovrecipe.build.graph import stage_groups, tasks
from ovrecipe.recipe.project import find_project

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bare `doit` names what can be built instead of building every model there is. doit's records
#: live in memory: the store knows what is built, and a build that was killed forgets nothing.
#: `-n 2` runs threads, which share one memory budget; the heavy work is in processes anyway.
DOIT_CONFIG = {
    "default_tasks": ["help"],
    "verbosity": 2,
    "backend": "sqlite3",
    "dep_file": ":memory:",
    "par_type": "thread",
}


def all_tasks(root: Path) -> Iterator[dict[str, Any]]:
    """Yield the tasks of every recipe of the project at `root`."""
    context = BuildContext(find_project(root, dict(os.environ)))
    yield {
        "basename": "help",
        "doc": "say what can be built",
        "actions": [(_say_what_can_be_built, [str(root)])],
    }
    yield from stage_groups()
    yield from tasks(context)


def _say_what_can_be_built(root: str) -> None:
    from ovrecipe.recipe.project import recipe_names

    print("Name what to build, for example 'doit build:NAME' or 'doit build:NAME:VARIANT':")
    for name in recipe_names(find_project(Path(root), os.environ)):
        print(f"  doit build:{name}")
