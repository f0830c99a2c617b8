"""`ovrecipe validate`: are the recipes right, and is here what they ask for?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrecipe.cli.session import Session
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe


def command(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None, typer.Argument(help="Names or files; all recipes if none.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check recipes: their keys and values, what they require, and that plugins provide the rest.

    Prints a line per recipe; the exit code is 3 when one is wrong. Nothing is downloaded.

    Example: ovrecipe validate phi-2
    """
    session = session_of(ctx)
    results = [_result(session, target) for target in targets or _names(session)]
    if as_json:
        typer.echo(json.dumps({"recipes": results}, indent=2))
    else:
        for each in results:
            _show(each)
    if any(each["errors"] for each in results):
        raise typer.Exit(RecipeError.exit_code)


def _names(session: Session) -> list[str]:
    from ovrecipe.recipe.find import recipe_names

    return recipe_names(session.project)


def _result(session: Session, target: str) -> dict[str, Any]:
    try:
        recipe = _load(session, target)
    except RecipeError as error:
        return {"recipe": target, "errors": [str(error)]}
    return {"recipe": target, "errors": [str(error) for error in _errors(session, recipe)]}


def _load(session: Session, target: str) -> Recipe:
    from ovrecipe.recipe.find import SUFFIXES
    from ovrecipe.recipe.load import load_recipe_file

    if target.endswith(SUFFIXES):
        return load_recipe_file(session.cwd / target, shown_from=session.cwd)
    return session.recipe(target)


def _show(result: dict[str, Any]) -> None:
    if not result["errors"]:
        typer.echo(f"{result['recipe']}: OK")
    for error in result["errors"]:
        typer.echo(error)


def _errors(session: Session, recipe: Recipe) -> Iterator[OvrecipeError]:
    """Yield what is wrong with a recipe that reads well."""
    from ovrecipe.recipe.requirements import check_requirements

    try:
        check_requirements(recipe)
    except OvrecipeError as error:
        yield error
    for role, name in dict.fromkeys(_providers(recipe)):
        try:
            session.plugins.provider(role, name, recipe)
        except OvrecipeError as error:
            yield RecipeError(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)
    yield from _missing_datasets(recipe)


def _providers(recipe: Recipe) -> Iterator[tuple[Any, str]]:
    """Yield (role, name) of every provider that the recipe asks for."""
    from ovrecipe.recipe.model_id import split_model_id

    source: Role = "source"
    yield source, split_model_id(recipe.model.id)[0]
    yield "exporter", recipe.model.exporter
    yield "tokenizer_converter", recipe.tokenizer.converter
    for variant in recipe.variants.values():
        for each in variant.compression_passes():
            yield "compressor", each.compressor
    for spec in recipe.output.filters:
        yield "output_filter", spec.name


def _missing_datasets(recipe: Recipe) -> Iterator[OvrecipeError]:
    for name, variant in recipe.variants.items():
        for each in variant.compression_passes():
            path = each.dataset_path(recipe.base_dir)
            if path is not None and not Path(path).is_file():
                yield RecipeError(
                    f"recipe '{recipe.name}': variants.{name}.dataset: no file {each.dataset}",
                    remedy="a path starts at the recipe's folder; 'generated' needs no file",
                )
