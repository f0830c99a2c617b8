"""Which recipes a project has, and what they may be called."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import ovrecipe
from ovrecipe.errors import ProjectError, RecipeInvalid, RecipeNotFound
from ovrecipe.recipe.sections import name_objection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.recipe.schema import Recipe


def bundled_recipes_dir() -> Path:
    """Return the folder of the bundled recipes: in the wheel, or in the repository."""
    package_dir = Path(ovrecipe.__file__).parent
    in_wheel = package_dir / "_recipes"
    return in_wheel if in_wheel.is_dir() else package_dir.parent / "recipes"


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


SUFFIXES = (".yaml", ".yml")


def recipe_names(project: Project) -> list[str]:
    """Return the names of the project's recipes, sorted; broken ones too."""
    return sorted({path.stem for path in recipe_paths(project.recipes_dir)})


def recipe_paths(recipes_dir: Path) -> list[Path]:
    """Return what is called as a recipe file in a folder, sorted; hidden files are no recipes.

    A folder or a link to nowhere of such a name is somebody's mistake, which reading it names.
    """
    files = (path for path in recipes_dir.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix in SUFFIXES)


def recipe_path(recipes_dir: Path, name: str) -> Path:
    """Return the file of the recipe `name`.

    Raises:
        RecipeInvalid: that is no name of a recipe, or two files have it.
        RecipeNotFound: no file has it.
    """
    check_name(name)
    paths = recipe_paths(recipes_dir) if recipes_dir.is_dir() else []
    found = [path for path in paths if path.stem == name]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise RecipeInvalid(f"recipe '{name}': {names} have one name", remedy="remove one of them")
    if not found:
        raise RecipeNotFound(
            f"no recipe '{name}' in {recipes_dir.name}/",
            remedy=_other_names(name, [path.stem for path in paths]),
        )
    return found[0]


def check_name(name: str) -> None:
    """Raise RecipeInvalid unless a recipe may have that name, on any system."""
    if objection := name_objection(name):
        raise RecipeInvalid(
            f"{name!r} is no recipe name: {objection}",
            remedy="give the name of a file in recipes/ without '.yaml'",
        )


def _other_names(name: str, names: list[str]) -> str:
    if close := get_close_matches(name, names, n=3):
        return f"perhaps you meant {', '.join(close)}"
    if names:
        return f"there are: {', '.join(names)}"
    return "the folder has no recipes; write one with 'ovrecipe new MODEL_ID'"


def split_target(target: str) -> tuple[str, str | None]:
    """Return (name, variant) of `NAME` or `NAME:VARIANT`."""
    name, colon, variant = target.partition(":")
    check_name(name)
    if colon and name_objection(variant):
        raise RecipeInvalid(
            f"{target!r} names no variant: it is written NAME:VARIANT",
            remedy=f"'ovrecipe show {name}' lists its variants",
        )
    return name, (variant if colon else None)


def check_variant(recipe: Recipe, variant: str) -> None:
    """Raise RecipeNotFound, naming the closest, unless the recipe has that variant."""
    if variant in recipe.variants:
        return
    close = get_close_matches(variant, list(recipe.variants), n=1)
    remedy = f"it has: {', '.join(recipe.variants)}"
    if close:
        remedy = f"perhaps you meant {recipe.name}:{close[0]}; {remedy}"
    raise RecipeNotFound(f"recipe '{recipe.name}' has no variant '{variant}'", remedy=remedy)
