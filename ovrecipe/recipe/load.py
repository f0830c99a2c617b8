"""From a file to a validated recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from ovrecipe.errors import RecipeError, RecipeInvalid, RecipeNotFound, RecipeSyntaxError
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import Problem, problems_of
from ovrecipe.recipe.project import check_name, recipe_path
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.sections import name_objection
from ovrecipe.recipe.yaml_reader import (
    MAX_BYTES,
    Entry,
    Loc,
    Node,
    Place,
    place_of,
    plain,
    read_yaml,
)
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.recipe.project import Project


#: Returns the version of an installed distribution, or None; see `installed_version`.
Installed: TypeAlias = Callable[[str], str | None]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution in this environment, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def check_requirements(recipe: Recipe, *, installed: Installed = installed_version) -> None:
    """Raise RecipeInvalid, with what to install, unless all that the recipe requires is here."""
    unmet = list(_unmet(recipe, installed))
    if unmet:
        wanted = " ".join(f"'{requirement}'" for requirement, _ in unmet)
        lines = [f"recipe '{recipe.name}' requires {req}, {found}" for req, found in unmet]
        raise RecipeInvalid("\n".join(lines), remedy=f"pip install {wanted}")


def _unmet(recipe: Recipe, installed: Installed) -> Iterator[tuple[str, str]]:
    """Yield (requirement, what was found instead)."""
    own = recipe.requires.ovrecipe
    if own is not None and not satisfies(__version__, own):
        yield f"ovrecipe{own}", f"but this is ovrecipe {__version__}"
    for distribution, specifier in recipe.requires.plugins.items():
        version = installed(distribution)
        if version is None:
            yield f"{distribution}{specifier}", "which is not installed"
        elif not satisfies(version, specifier):
            yield f"{distribution}{specifier}", f"but {distribution} {version} is installed"


def satisfies(version: str, specifier: str) -> bool:
    """Return whether a version fits `>=1.2,<2`; pre-releases count as what they are."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def unmet_ovrecipe(document: object) -> str | None:
    """Return a hint when an unvalidated recipe was written for another ovrecipe."""
    from packaging.specifiers import InvalidSpecifier

    requires = document.get("requires") if isinstance(document, dict) else None
    wanted = requires.get("ovrecipe") if isinstance(requires, dict) else None
    if not isinstance(wanted, str):
        return None
    try:
        fits = satisfies(__version__, wanted)
    except InvalidSpecifier:
        return None
    return None if fits else f"it was written for ovrecipe{wanted}; this is {__version__}"


#: Knobs of a variant that a list of passes stands in for.
_KNOBS = tuple(CompressionPass.model_fields)


#: Keys that name a provider with its options, which another one does not inherit.
_PROVIDERS: tuple[Loc, ...] = (("model", "exporter"), ("tokenizer", "converter"))


def merged(base: Node, over: Node, loc: Loc = ()) -> Node:
    """Return `base` with `over` on top; every value keeps the place where it was written.

    Mappings are merged key by key, everything else is replaced, and a null takes an inherited
    key back.
    """
    both = isinstance(base.content, dict) and isinstance(over.content, dict)
    if not both or loc in _PROVIDERS:
        return over
    assert isinstance(base.content, dict)
    assert isinstance(over.content, dict)
    gone = _replaced(over.content, loc)
    entries = {key: entry for key, entry in base.content.items() if key not in gone}
    for key, entry in over.content.items():
        if key not in base.content:
            entries[key] = entry
        elif entry.node.content is None:
            entries.pop(key, None)
        else:
            node = merged(base.content[key].node, entry.node, (*loc, key))
            entries[key] = Entry(entry.place, node)
    return Node(entries, over.place)


def _replaced(over: dict[str, Entry], loc: Loc) -> set[str]:
    """Return inherited keys that are not meant any more, because `over` says it otherwise.

    A prompt has one template, and a variant has either its own knobs or a list of passes.
    """
    given = {key for key, entry in over.items() if entry.node.content is not None}
    gone: set[str] = set()
    if loc == ("prompt",) and given & {"template", "chat_template"}:
        gone = {"template", "chat_template"}
    if len(loc) == 2 and loc[0] == "variants" and "passes" in given:
        gone = set(_KNOBS)
    return gone - set(over)


#: Keys of the Recipe class that a file cannot give.
_FROM_THE_FILE_NAME = ("name", "path")
MAX_EXTENDS = 10


def load_recipe(project: Project, name: str) -> Recipe:
    """Return the validated recipe of that name.

    Raises:
        RecipeError: there is none, or it is wrong; all problems at once, with their places.
    """
    path = recipe_path(project.recipes_dir, name)
    return load_recipe_file(path, shown_from=project.root)


def load_recipe_file(path: Path, *, shown_from: Path | None = None) -> Recipe:
    """Return the validated recipe in a file; messages show its path from `shown_from`."""
    check_name(path.stem)
    return load_tree(path, shown_from=shown_from).recipe


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and the tree it came from, which knows where every value was written."""

    recipe: Recipe
    tree: Node


def load_tree(path: Path, *, shown_from: Path | None = None) -> LoadedRecipe:
    """Return a recipe with the places of its values, its `extends` merged in."""
    tree = _extended(path, shown_from, ())
    stray = [_given_by_file_name(tree, key) for key in _FROM_THE_FILE_NAME if _has(tree, key)]
    try:
        document = plain(tree)
        assert isinstance(document, dict), "read_yaml returns a mapping"
        recipe = Recipe.model_validate({**document, "name": path.stem, "path": path.absolute()})
    except ValidationError as error:
        raise _invalid([*stray, *problems_of(error, tree)], tree) from error
    if stray:
        raise _invalid(stray, tree)
    return LoadedRecipe(recipe, tree)


def _has(tree: Node, key: str) -> bool:
    return isinstance(tree.content, dict) and key in tree.content


def _given_by_file_name(tree: Node, key: str) -> Problem:
    reason = "unknown key; a recipe is called what its file is called"
    return Problem(place_of(tree, (key,), of_key=True), (key,), reason)


def _invalid(problems: list[Problem], tree: Node) -> RecipeInvalid:
    lines = [str(each) for each in sorted(set(problems))]
    return RecipeInvalid("\n".join(lines), remedy=unmet_ovrecipe(plain(tree)))


def _extended(path: Path, shown_from: Path | None, chain: tuple[Path, ...]) -> Node:
    """Read a file and lay it over the recipe that it extends."""
    tree = read_yaml(_read(path, _shown(path, shown_from)), _shown(path, shown_from))
    if not _has(tree, "extends"):
        return tree
    place = place_of(tree, ("extends",))
    name = _extended_name(tree, place)
    if name is None:
        return tree
    base_path = _base_path(path, name, place)
    if base_path in (*chain, path):
        names = " -> ".join(each.stem for each in (*chain, path, base_path))
        raise RecipeInvalid(f"{place}: extends: goes in a circle: {names}")
    if len(chain) >= MAX_EXTENDS:
        raise RecipeInvalid(f"{place}: extends: more than {MAX_EXTENDS} recipes in a row")
    return merged(_extended(base_path, shown_from, (*chain, path)), tree)


def _extended_name(tree: Node, place: Place) -> str | None:
    name = tree.content["extends"].node.content if isinstance(tree.content, dict) else None
    if name is None:
        return None
    if not isinstance(name, str) or name_objection(name):
        raise RecipeInvalid(f"{place}: extends: takes the name of one recipe in the same folder")
    return name


def _base_path(path: Path, name: str, place: Place) -> Path:
    try:
        return recipe_path(path.parent, name)
    except RecipeError as error:
        raise RecipeNotFound(f"{place}: extends: {error.message}", remedy=error.remedy) from error


def _shown(path: Path, shown_from: Path | None) -> str:
    """Return the path as a user would type it: relative where that is shorter, with slashes."""
    if shown_from is not None and path.is_relative_to(shown_from):
        return path.relative_to(shown_from).as_posix()
    return os.fspath(path)


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeNotFound(f"{shown}: no such file") from error
    except OSError as error:
        raise RecipeSyntaxError(f"{shown}: cannot be read: {error.strerror}") from error
