"""Which recipes a project has, and what they may be called."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ovrecipe.errors import RecipeInvalid, RecipeNotFound
from ovrecipe.recipe.names import name_objection

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe

SUFFIXES = (".yaml", ".yml")


def recipe_names(project: Project) -> list[str]:
    """Return the names of the project's recipes, sorted; broken ones too."""
    return sorted({path.stem for path in recipe_paths(project.recipes_dir)})


def recipe_paths(recipes_dir: Path) -> list[Path]:
    """Return the recipe files of a folder, sorted; hidden files are no recipes."""
    files = (path for path in recipes_dir.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix in SUFFIXES and path.is_file())


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
