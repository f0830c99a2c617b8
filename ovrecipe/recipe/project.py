"""A project's folders, and the recipes and variants in it by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.errors import ProjectError, RecipeInvalid, RecipeNotFound
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe


PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
LETTERS = "a name is letters, digits, '.', '-' and '_', and starts with a letter or digit"
#: Windows keeps these for devices, with any ending: `nul.yaml` is the device too.
DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)


def name_objection(name: str) -> str | None:
    """Return what is wrong with a name of a recipe or variant, on any system; None if nothing."""
    if not re.fullmatch(PATTERN, name):
        return LETTERS
    if name.endswith("."):
        return "a name does not end in '.', which Windows drops"
    if device := DEVICES.fullmatch(name):
        return f"Windows keeps '{device[1]}' for a device"
    return None


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

    @property
    def history_path(self) -> Path:
        """The database of figures that `ovrecipe bench` measured; OVRECIPE_HISTORY moves it."""
        return self.root / (self.env.get("OVRECIPE_HISTORY") or "bench.sqlite")


def find_project(start: Path, env: Mapping[str, str]) -> Project:
    """Return the project of `start`: OVRECIPE_PROJECT, or the nearest folder with `recipes/`.

    Raises:
        ProjectError: neither is there.
    """
    start, named = start.absolute(), env.get("OVRECIPE_PROJECT")
    candidates = [Path(named).absolute()] if named else [start, *start.parents]
    root = next((folder for folder in candidates if (folder / "recipes").is_dir()), None)
    if root is None:
        nowhere = f"no recipes folder in {start} or above it"
        message = f"{candidates[0]} has no recipes folder" if named else nowhere
        remedy = "make a project with 'ovrecipe init DIR', or name one with --project"
        raise ProjectError(message, remedy=remedy)
    return Project(
        root=root,
        recipes_dir=root / "recipes",
        store_dir=root / (env.get("OVRECIPE_STORE") or "store"),
        models_dir=root / (env.get("OVRECIPE_MODELS") or "models"),
        env=env,
    )


def bundled_recipes_dir() -> Path:
    """Return the folder of the bundled recipes, with dodo.py beside it; also in the wheel."""
    package_dir = Path(__file__).parents[1]
    in_wheel = package_dir / "_recipes"
    return in_wheel if in_wheel.is_dir() else package_dir.parent / "recipes"


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
        files = " and ".join(path.name for path in found)
        raise RecipeInvalid(f"recipe '{name}': {files} have one name", remedy="remove one of them")
    if not found:
        names = [path.stem for path in paths]
        none = "the folder has no recipes; write one with 'ovrecipe new MODEL_ID'"
        message = f"no recipe '{name}' in {recipes_dir.name}/{perhaps(name, names)}"
        remedy = f"there are: {', '.join(names)}" if names else none
        raise RecipeNotFound(message, remedy=remedy)
    return found[0]


def check_name(name: str) -> None:
    """Compare with what a recipe may be called, on any system.

    Raises:
        RecipeInvalid: it may not.
    """
    if objection := name_objection(name):
        remedy = "give the name of a file in recipes/ without '.yaml'"
        raise RecipeInvalid(f"{name!r} is no recipe name: {objection}", remedy=remedy)


def split_target(target: str) -> tuple[str, str | None]:
    """Return (name, variant) of `NAME` or `NAME:VARIANT`.

    Raises:
        RecipeInvalid: it is neither.
    """
    name, colon, variant = target.partition(":")
    check_name(name)
    if colon and name_objection(variant):
        message = f"{target!r} names no variant: it is written NAME:VARIANT"
        raise RecipeInvalid(message, remedy=f"'ovrecipe show {name}' lists its variants")
    return name, (variant if colon else None)


def named_by(target: str, read: Callable[[str], Recipe]) -> tuple[Recipe, str | None]:
    """Return what `NAME[:VARIANT]` names: the recipe, as `read` has it, and which variant of it.

    Raises:
        RecipeError: there is no such recipe, or it has no such variant.
    """
    name, variant = split_target(target)
    recipe = read(name)
    if variant is not None:
        check_variant(recipe, variant)
    return recipe, variant


def check_variant(recipe: Recipe, variant: str) -> None:
    """Look for a variant in a recipe.

    Raises:
        RecipeNotFound: there is none of that name; the closest is named.
    """
    if variant not in recipe.variants:
        targets = [f"{recipe.name}:{name}" for name in recipe.variants]
        meant = perhaps(f"{recipe.name}:{variant}", targets)
        message = f"recipe '{recipe.name}' has no variant '{variant}'{meant}"
        raise RecipeNotFound(message, remedy=f"it has: {', '.join(recipe.variants)}")
