"""From a file to a validated recipe, and whether what it requires is installed."""

from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from pathlib import Path

from pydantic import ValidationError

from ovrecipe.errors import RecipeError, RecipeInvalid, RecipeNotFound, RecipeSyntaxError
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import Problem, problems_of
from ovrecipe.recipe.project import Project, check_name, name_objection, recipe_path
from ovrecipe.recipe.schema import FROM_THE_FILE, Recipe
from ovrecipe.recipe.yaml_reader import (
    MAX_BYTES,
    Loc,
    Node,
    Place,
    node_at,
    place_of,
    plain,
    read_yaml,
)
from ovrecipe.version import __version__, fits, package_version

MAX_EXTENDS = 10


def load_recipe(project: Project, name: str) -> Recipe:
    """Return the validated recipe of that name.

    Raises:
        RecipeError: there is none, or it is wrong; all problems at once, with their places.
    """
    return load_recipe_file(recipe_path(project.recipes_dir, name), shown_from=project.root)


def load_recipe_file(path: Path, *, shown_from: Path | None = None) -> Recipe:
    """Return the validated recipe in a file; messages show its path from `shown_from`.

    Raises:
        RecipeError: it is wrong; all problems at once, with their places.
    """
    check_name(path.stem)
    unusable: list[tuple[Place, str]] = []
    tree = _extended(path, shown_from, unusable)
    document = plain(tree)
    assert isinstance(document, dict), "read_yaml returns a mapping"
    problems = {Problem(place, (), reason) for place, reason in unusable}
    for key in document.keys() & FROM_THE_FILE:
        reason = "unknown key; a recipe is called what its file is called"
        problems.add(Problem(place_of(tree, (key,), of_key=True), (key,), reason))
    document |= {"name": path.stem, "path": path.absolute()}
    try:
        recipe = Recipe.model_validate(document, context={"tree": tree})
    except ValidationError as error:
        told = {place for place, _ in unusable}
        found = problems_of(error, model=Recipe, tree=tree)
        problems |= {problem for problem in found if problem.place not in told}
    else:
        if not problems:
            return recipe
    raise RecipeInvalid("\n".join(map(str, sorted(problems))), remedy=_unmet_ovrecipe(tree))


def _extended(path: Path, shown_from: Path | None, unusable: list[tuple[Place, str]]) -> Node:
    """Read a file and lay it over the recipes that it extends."""
    chain, trees = [path], []
    while True:
        shown = str(path)
        if shown_from is not None and path.is_relative_to(shown_from):
            shown = path.relative_to(shown_from).as_posix()
        trees.append(read_yaml(_read(path, shown), shown, unusable))
        extends = node_at(trees[-1], ("extends",))
        if extends is None or extends.content is None:
            return reduce(merged, reversed(trees))
        path = _extended_path(extends, chain)
        chain.append(path)


def _extended_path(extends: Node, chain: list[Path]) -> Path:
    where, name = f"{extends.place}: extends:", extends.content
    if not isinstance(name, str) or name_objection(name):
        raise RecipeInvalid(f"{where} takes the name of one recipe in the same folder")
    try:
        path = recipe_path(chain[-1].parent, name)
    except RecipeError as error:
        raise RecipeNotFound(f"{where} {error.message}", remedy=error.remedy) from error
    if path in chain:
        way_round = " -> ".join(link.stem for link in (*chain, path))
        raise RecipeInvalid(f"{where} goes in a circle: {way_round}")
    if len(chain) > MAX_EXTENDS:
        raise RecipeInvalid(f"{where} more than {MAX_EXTENDS} recipes in a row")
    return path


def _read(path: Path, shown: str) -> bytes:
    if path.is_symlink() and not path.exists():
        raise RecipeNotFound(f"{shown}: a link to {path.readlink()}, which is not there")
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for somebody who writes into it.
        raise RecipeSyntaxError(f"{shown}: is a {'folder' if path.is_dir() else 'device or pipe'}")
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeNotFound(f"{shown}: no such file") from error
    except OSError as error:
        raise RecipeSyntaxError(f"{shown}: cannot be read: {error.strerror}") from error


#: Keys that name a provider with its options, which another one does not inherit.
_PROVIDERS: tuple[Loc, ...] = (("model", "exporter"), ("tokenizer", "converter"))
_TEMPLATES = {"template", "chat_template"}


def merged(base: Node, over: Node, loc: Loc = ()) -> Node:
    """Return `base` with `over` on top; every value keeps the place where it was written.

    Mappings are merged key by key, everything else is replaced, and a null takes an inherited
    key back.
    """
    if loc in _PROVIDERS or not (isinstance(base.content, dict) and isinstance(over.content, dict)):
        return over
    given = {key for key, value in over.content.items() if value.content is not None}
    gone = over.content.keys() - given
    # A prompt has one template, and a variant has either its own knobs or a list of passes.
    if loc == ("prompt",) and given & _TEMPLATES:
        gone |= _TEMPLATES - given
    elif len(loc) == 2 and loc[0] == "variants" and "passes" in given:
        gone |= CompressionPass.model_fields.keys() - given
    entries = {key: value for key, value in base.content.items() if key not in gone}
    for key, value in over.content.items():
        if key in entries:
            entries[key] = merged(entries[key], value, (*loc, key))
        elif key in given or key not in base.content:
            entries[key] = value
    return over._replace(content=entries)


def check_requirements(
    recipe: Recipe, *, installed: Callable[[str], str | None] = package_version
) -> None:
    """Compare what the recipe requires with what is here.

    Raises:
        RecipeInvalid: with what to install.
    """
    unmet: dict[str, str] = {}
    own = recipe.requires.ovrecipe
    if own is not None and not fits(__version__, own):
        unmet[f"ovrecipe{own}"] = f"but this is ovrecipe {__version__}"
    for name, specifier in recipe.requires.plugins.items():
        version = installed(name)
        if version is None:
            unmet[f"{name}{specifier}"] = "which is not installed"
        elif not fits(version, specifier):
            unmet[f"{name}{specifier}"] = f"but {name} {version} is installed"
    if unmet:
        lines = [f"recipe '{recipe.name}' requires {req}, {found}" for req, found in unmet.items()]
        quoted = " ".join(f"'{requirement}'" for requirement in unmet)
        raise RecipeInvalid("\n".join(lines), remedy=f"pip install {quoted}")


def _unmet_ovrecipe(tree: Node) -> str | None:
    """Return a hint when a recipe that is wrong was written for another ovrecipe."""
    wanted = node_at(tree, ("requires", "ovrecipe"))
    if wanted is not None and isinstance(wanted.content, str):
        with suppress(ValueError):  # packaging's InvalidSpecifier
            if not fits(__version__, wanted.content):
                return f"it was written for ovrecipe{wanted.content}; this is {__version__}"
    return None
