"""`ovrecipe list`: the project's recipes and what is built of them."""

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
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the recipes of the project, their variants and what is built.

    A broken recipe is listed with its error and hides no other; the exit code is then 3.

    Example: ovrecipe list
    """
    session = session_of(ctx)
    rows = [_row(session, name) for name in _names(session)]
    if as_json:
        typer.echo(json.dumps({"recipes": rows}, indent=2))
    else:
        _show(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(RecipeError.exit_code)


def _names(session: Session) -> list[str]:
    from ovrecipe.recipe.find import recipe_names

    return recipe_names(session.project)


def _row(session: Session, name: str) -> dict[str, Any]:
    try:
        recipe = session.recipe(name)
    except RecipeError as error:
        return {"name": name, "error": str(error)}
    variants = [_variant(session, recipe, each) for each in recipe.variants]
    return {
        "name": name,
        "description": recipe.description,
        "model": recipe.model.id,
        "variants": variants,
    }


def _variant(session: Session, recipe: Recipe, name: str) -> dict[str, Any]:
    from ovrecipe.store.views import view_target

    variant = recipe.variants[name]
    return {
        "name": name,
        "precision": variant.precision,
        "optional": variant.optional,
        "built": view_target(session.project.models_dir, recipe.name, name) is not None,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    console = Console()
    table = Table("recipe", Column("model", overflow="fold"), "variants", box=box.SIMPLE_HEAD)
    for row in rows:
        if "error" in row:
            table.add_row(escape(row["name"]), "[red]broken, see below[/red]", "")
        else:
            shown = "\n".join(_shown(each) for each in row["variants"])
            table.add_row(escape(row["name"]), escape(row["model"]), shown)
    if rows:
        console.print(table)
    else:
        console.print("no recipes yet; write one with 'ovrecipe new MODEL_ID'")
    for row in rows:
        if "error" in row:
            typer.echo(row["error"], err=True)


def _shown(variant: dict[str, Any]) -> str:
    state = "built" if variant["built"] else "optional" if variant["optional"] else "not built"
    style = "green" if variant["built"] else "dim"
    return f"{variant['name']} [{style}]{state}[/{style}]"
