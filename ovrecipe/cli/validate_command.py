"""`ovrecipe validate`: are the recipes right, and is here what they ask for?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import RecipeError

if TYPE_CHECKING:
    from ovrecipe.cli.session import Session
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
    from ovrecipe.recipe.project import recipe_names

    return recipe_names(session.project)


def _result(session: Session, target: str) -> dict[str, Any]:
    from ovrecipe.build.judge import recipe_errors

    try:
        recipe = _load(session, target)
    except RecipeError as error:
        return {"recipe": target, "errors": [str(error)]}
    return {
        "recipe": target,
        "errors": [str(error) for error in recipe_errors(recipe, session.plugins)],
    }


def _load(session: Session, target: str) -> Recipe:
    from ovrecipe.recipe.load import load_recipe_file
    from ovrecipe.recipe.project import SUFFIXES

    if target.endswith(SUFFIXES):
        return load_recipe_file(session.cwd / target, shown_from=session.cwd)
    return session.recipe(target)


def _show(result: dict[str, Any]) -> None:
    if not result["errors"]:
        typer.echo(f"{result['recipe']}: OK")
    for error in result["errors"]:
        typer.echo(error)
