"""`ovrecipe list`: the project's recipes and what is built of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import RecipeError

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.cli.session import Session
    from ovrecipe.recipe.schema import Recipe


def command(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the recipes of the project, their variants and what is built.

    What is "stale" was built from other settings than the recipe's; 'ovrecipe why' names them. A
    broken recipe is listed with its error and hides no other; the exit code is then 3.

    Example: ovrecipe list
    """
    from ovrecipe.build.context import BuildContext

    session = session_of(ctx)
    context = BuildContext(session.project, plugin_options=session.plugin_options)
    rows = [_row(context, name) for name in _names(session)]
    if as_json:
        typer.echo(json.dumps({"recipes": rows}, indent=2))
    else:
        _show(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(RecipeError.exit_code)


def _names(session: Session) -> list[str]:
    from ovrecipe.recipe.project import recipe_names

    return recipe_names(session.project)


def _row(context: BuildContext, name: str) -> dict[str, Any]:
    from ovrecipe.recipe.load import load_recipe

    try:
        recipe = load_recipe(context.project, name)
    except RecipeError as error:
        return {"name": name, "error": str(error)}
    variants = _variants(context, recipe)
    return {
        "name": name,
        "description": recipe.description,
        "model": recipe.model.id,
        "variants": variants,
    }


def _variants(context: BuildContext, recipe: Recipe) -> list[dict[str, Any]]:
    from ovrecipe.build.execute import ViewWork
    from ovrecipe.store.views import view_target

    plan = context.plan_of(recipe)
    rows = []
    for name, each in recipe.variants.items():
        viewed = view_target(context.project.models_dir, recipe.name, name) is not None
        built = viewed and ViewWork(context, plan, name).is_up_to_date()
        row = {"name": name, "precision": each.precision, "optional": each.optional}
        rows.append({**row, "built": built, "stale": viewed and not built})
    return rows


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
    state, style = _state(variant)
    return f"{variant['name']} [{style}]{state}[/{style}]"


def _state(variant: dict[str, Any]) -> tuple[str, str]:
    if variant["built"]:
        return "built", "green"
    if variant["stale"]:
        return "stale", "yellow"
    return ("optional" if variant["optional"] else "not built"), "dim"
