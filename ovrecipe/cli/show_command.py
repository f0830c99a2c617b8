"""`ovrecipe show`: a recipe as it is understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrecipe.recipe.schema import Recipe

#: Column in which the origin of a value starts.
_ORIGIN_COLUMN = 60
#: Stands for a section's value, whose keys have lines of their own.
_SECTION = object()


def command(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="NAME[:VARIANT]", help="Recipe or variant.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show a recipe as it is understood: every value, and the file and line that it comes from.

    The output is YAML. With a variant, only that variant is shown, with the generation
    parameters that it really gets.

    Example: ovrecipe show smollm2-135m:int4
    """
    from ovrecipe.recipe.load import load_recipe
    from ovrecipe.recipe.project import check_variant, split_target

    name, variant = split_target(target)
    recipe = load_recipe(session_of(ctx).project, name)
    if variant is not None:
        check_variant(recipe, variant)
    document = _document(recipe, variant)
    if as_json:
        typer.echo(json.dumps({"name": name, **document}, indent=2))
        return
    for line in _yaml_lines(document, recipe, variant):
        typer.echo(line)


def _document(recipe: Recipe, variant: str | None) -> dict[str, Any]:
    document = recipe.model_dump(mode="json", by_alias=True, exclude={"name", "path"})
    if variant is not None:
        document["variants"] = {variant: document["variants"][variant]}
        generation = recipe.generation_of(variant)
        document["generation"] = generation.model_dump(mode="json", by_alias=True)
    return document


def _yaml_lines(document: dict[str, Any], recipe: Recipe, variant: str | None) -> Iterator[str]:
    """Yield `key: value  # origin` lines; what is unset is left out."""
    yield f"# {recipe.name}"
    for loc, value in _leaves(document, ()):
        indent = "  " * (len(loc) - 1)
        if value is _SECTION:
            yield f"{indent}{_key(loc[-1])}:"
            continue
        line = f"{indent}{_key(loc[-1])}: {json.dumps(value, ensure_ascii=False)}"
        yield f"{line.ljust(_ORIGIN_COLUMN)}  # {_origin(recipe, loc, variant)}"


def _leaves(value: dict[str, Any], loc: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the place and value of all that is set, each section before what is in it."""
    for key, each in value.items():
        if isinstance(each, dict):
            below = list(_leaves(each, (*loc, key)))
            if below:
                yield (*loc, key), _SECTION
                yield from below
        elif each not in (None, []):
            yield (*loc, key), each


def _key(key: str) -> str:
    return (
        key if key.replace("-", "").replace("_", "").replace(".", "").isalnum() else json.dumps(key)
    )


def _origin(recipe: Recipe, loc: tuple[str, ...], variant: str | None) -> str:
    from ovrecipe.recipe.problems import place_in_recipe
    from ovrecipe.recipe.yaml_reader import node_at

    own = ("variants", variant, *loc) if variant and loc[0] == "generation" else loc
    for where in (own, loc):
        if recipe.tree is not None and node_at(recipe.tree, where):
            place = place_in_recipe(recipe, where)
            return f"{place.shown}:{place.line}"
    return "from the variant's name" if loc[-1] == "precision" else "default"
