"""Where things are: the project's folder, its recipes, its store and its named views."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Project:
    """The folders of one project; every function that needs one is given it.

    `store_dir` and `models_dir` lie in the project unless OVRECIPE_STORE and OVRECIPE_MODELS
    say otherwise; `env` is the environment that sources and plugins may read.
    """

    root: Path
    recipes_dir: Path
    store_dir: Path
    models_dir: Path
    env: Mapping[str, str]

    @property
    def lock_path(self) -> Path:
        """The file that records which commit a branch meant when it was first built."""
        return self.root / "ovrecipe.lock"


def find_project(start: Path, env: Mapping[str, str]) -> Project:
    """Return the project of `start`: OVRECIPE_PROJECT, or the nearest folder with `recipes/`.

    Raises:
        ProjectError: neither is there.
    """
    root = _root(start.absolute(), env)
    return Project(
        root=root,
        recipes_dir=root / "recipes",
        store_dir=_placed(root, env.get("OVRECIPE_STORE"), "store"),
        models_dir=_placed(root, env.get("OVRECIPE_MODELS"), "models"),
        env=env,
    )


def _root(start: Path, env: Mapping[str, str]) -> Path:
    named = env.get("OVRECIPE_PROJECT")
    candidates = [Path(named).absolute()] if named else [start, *start.parents]
    for each in candidates:
        if (each / "recipes").is_dir():
            return each
    where = f"{candidates[0]} has no recipes folder" if named else f"no recipes folder in {start}"
    raise ProjectError(
        f"{where}" + ("" if named else " or above it"),
        remedy="make a project with 'ovrecipe init DIR', or name one with --project",
    )


def _placed(root: Path, named: str | None, default: str) -> Path:
    return root / (named or default)
