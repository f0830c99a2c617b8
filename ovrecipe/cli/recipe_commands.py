"""`ovrecipe list`, `show`, `validate` and `schema`: what recipes say, and what is wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.build.judge import recipe_errors
from ovrecipe.cli.completion import TargetArgument, complete_name, recipe_argument
from ovrecipe.cli.output import AsJson, print_json, write_text
from ovrecipe.cli.session import Session, session_of, state_of
from ovrecipe.errors import OvrecipeError, RecipeError, RecipeInvalid
from ovrecipe.recipe.load import load_recipe, load_recipe_file
from ovrecipe.recipe.problems import place_in_recipe
from ovrecipe.recipe.project import SUFFIXES, named_by
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.writing import schema_text
from ovrecipe.recipe.yaml_reader import node_at

if TYPE_CHECKING:
    from rich.text import Text

    from ovrecipe.build.context import BuildContext


#: Less of a model's id says nothing.
SHORTEST_ID = 8


def list_recipes(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the recipes of the project, their variants and what is built.

    What is "stale" was built from other settings than the recipe's, what is "refused" did not pass
    a gate; 'ovrecipe why' says more. A
    broken recipe is listed with its error and hides no other; the exit code is then 3.

    Example: ovrecipe list
    """
    session = session_of(ctx)
    context = session.build_context()
    rows = [_row(context, name) for name in session.recipe_names()]
    if as_json:
        print_json({"recipes": rows})
    else:
        _print_list(rows)
    if any("error" in row for row in rows):
        raise typer.Exit(RecipeError.exit_code)


def _row(context: BuildContext, name: str) -> dict[str, Any]:
    from ovrecipe.build.context import RecipePlan

    try:
        recipe = load_recipe(context.project, name)
    except RecipeError as error:
        return {"name": name, "error": str(error)}
    plan = RecipePlan(context, recipe)
    variants = [
        {"name": variant, "precision": spec.precision, "optional": spec.optional}
        | state_of(context, plan, variant)
        for variant, spec in recipe.variants.items()
    ]
    shown = {"name": name, "description": recipe.description, "model": recipe.model.id}
    return {**shown, "variants": variants}


def _print_list(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each recipe, as wide as the terminal; the model gets what room is left."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    # What reads a pipe cuts for itself.
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else None
    if not rows:
        console.print("no recipes yet; write one with 'ovrecipe new MODEL_ID'")
        return
    fancy = console.encoding.startswith("utf")
    styles = ("green", "yellow", "red", "dim")
    built, stale, refused, missing = zip("✓~✗·" if fancy else "+~x-", styles, strict=True)
    marks = {"built": built, "stale": stale, "refused": refused}

    def marked(variant: Mapping[str, Any]) -> Text:
        mark = next((mark for state, mark in marks.items() if variant[state]), missing)
        name = f"({variant['name']})" if variant["optional"] else variant["name"]
        return Text.assemble(f"{name} ", mark)

    broken = [Text("broken, see below", "red")]
    cells = [[*map(marked, row["variants"])] if "variants" in row else broken for row in rows]
    columns = (
        2 + max(len(row["name"]) for row in rows),
        2 + max(len(Text("  ").join(variants)) for variants in cells),
    )
    for row, variants in zip(rows, cells, strict=True):
        for line in _lines_of(row, variants, columns, width):
            line.truncate(width or len(line), overflow="ellipsis" if fancy else "crop")
            console.print(line, no_wrap=True, overflow="ignore", crop=False)
    states = [*marks.items(), ("not built", missing)]
    legend = "  ".join(
        [*(f"{mark} {state}" for state, (mark, _) in states), "(built only when named)"]
    )
    console.print(legend, style="dim", markup=False)
    for row in rows:
        if "error" in row:
            typer.echo(row["error"], err=True)


def _lines_of(
    row: Mapping[str, Any], variants: Sequence[Text], columns: tuple[int, int], width: int | None
) -> list[Text]:
    """Return a recipe's lines: a long id gives way, or all of it; what is built does not."""
    from rich.text import Text

    line = Text("  ").join(variants)
    whole = Text(row["name"].ljust(columns[0])) + line
    if width is None or len(whole) <= width:
        whole.pad_right(sum(columns) - len(whole))
        if width is None or len(whole) + SHORTEST_ID <= width:
            whole.append(str(row.get("model", "")))
        whole.rstrip()
        return [whole]
    lines = [Text(row["name"])]
    for variant in variants:
        if len(lines[-1]) + 2 + len(variant) > width or len(lines) == 1:
            lines.append(Text("  "))
        lines[-1] += Text("  ") + variant
    return lines


def validate(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        recipe_argument(
            "[NAME|FILE]...",
            "Names of recipes or files; all recipes of the project if none.",
            complete_name,
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check recipes: their keys and values, what they require, and that plugins provide the rest.

    Prints a line per recipe; the exit code is 3 when one is wrong. Nothing is downloaded.

    Example: ovrecipe validate phi-2
    """
    session = session_of(ctx)
    found = {name: _errors(session, name) for name in targets or session.recipe_names()}
    if as_json:
        rows = [{"recipe": name, "errors": _problems(errors)} for name, errors in found.items()]
        print_json({"recipes": rows})
    else:
        for name, errors in found.items():
            typer.echo("\n".join(map(str, errors)) or f"{name}: OK")
    if any(found.values()):
        raise typer.Exit(RecipeError.exit_code)


def _errors(session: Session, target: str) -> list[OvrecipeError]:
    """Return what is wrong with a recipe, named or in a file."""
    try:
        if target.endswith(SUFFIXES):
            recipe = load_recipe_file(session.cwd / target, shown_from=session.cwd)
        else:
            recipe = session.recipe(target)
        return [*recipe_errors(recipe, session.plugins), *_drafting_errors(session, recipe)]
    except RecipeError as error:
        return [error]


def _drafting_errors(session: Session, recipe: Recipe) -> Iterator[OvrecipeError]:
    """Yield why the draft model of a variant cannot be had, each thing once."""
    for draft in dict.fromkeys(filter(None, map(recipe.draft_of, recipe.variants))):
        try:
            named_by(draft.recipe, session.recipe)
        except RecipeError as error:
            message = f"recipe '{recipe.name}': draft: {error.message}"
            yield RecipeInvalid(message, remedy=error.remedy)


#: A line of an error as all of them are written: `recipes/x.yaml:6:10: variants.int4.awq: reason`.
_LINE = re.compile(
    r"((?P<file>.+?\.ya?ml)(:(?P<line>\d+):(?P<column>\d+))?: )?"
    r"((?P<key>[\w.\[\]-]+): )?(?P<message>.*)"
)


def _problems(errors: Sequence[OvrecipeError]) -> list[dict[str, Any]]:
    """Return an object for each problem; what is not known of its place is null."""
    found = []
    for error in errors:
        for line in error.message.splitlines():
            match = _LINE.fullmatch(line)
            assert match is not None, "every part but the message may be missing"
            places = {name: match[name] and int(match[name]) for name in ("line", "column")}
            found.append({**match.groupdict(), **places, "remedy": error.remedy})
    return found


def schema(
    write: Annotated[Path | None, typer.Option(help="Write it to a file instead.")] = None,
) -> None:
    """Print the JSON schema of a recipe, with which editors complete and check recipes.

    Example: ovrecipe schema --write recipes/recipe.schema.json
    """
    if write is None:
        typer.echo(schema_text(), nl=False)
    else:
        write_text(write, schema_text(), parents=False)
        typer.echo(f"wrote {write}", err=True)


def show(ctx: typer.Context, target: TargetArgument, *, as_json: AsJson = False) -> None:
    """Show a recipe as it is understood: every value, and the file and line that it comes from.

    The output is YAML. With a variant, only that variant is shown, with the generation
    parameters that it really gets.

    Example: ovrecipe show smollm2-135m:int4
    """
    recipe, variant = named_by(target, session_of(ctx).recipe)
    document = recipe.model_dump(mode="json", by_alias=True, exclude={"name", "path"})
    if variant is not None:
        document["variants"] = {variant: document["variants"][variant]}
        generation = recipe.generation_of(variant)
        document["generation"] = generation.model_dump(mode="json", by_alias=True)
    if as_json:
        print_json({"name": recipe.name, **document})
        return
    origin = partial(_origin, recipe, variant)
    typer.echo("\n".join([f"# {recipe.name}", *_lines(document, (), origin)]))


def _lines(
    section: Mapping[str, Any], loc: tuple[str, ...], origin: Callable[[tuple[str, ...]], str]
) -> Iterator[str]:
    """Yield a line for all that is set, with its origin; a section's own goes before them."""
    for key, value in section.items():
        place = (*loc, key)
        shown = key if re.fullmatch(r"[\w.-]+", key) else json.dumps(key)
        line = f"{'  ' * len(loc)}{shown}:"
        if isinstance(value, dict):
            below = list(_lines(value, place, origin))
            yield from [line, *below] if below else []
        elif value not in (None, []):
            text = f"{line} {json.dumps(value, ensure_ascii=False)}"
            yield f"{text:60}  # {origin(place)}"


def _origin(recipe: Recipe, variant: str | None, loc: tuple[str, ...]) -> str:
    own = ("variants", variant, *loc) if variant and loc[0] == "generation" else loc
    for where in (own, loc):
        if recipe.tree is not None and node_at(recipe.tree, where):
            place = place_in_recipe(recipe, where)
            return f"{place.shown}:{place.line}"
    return "from the variant's name" if loc[-1] == "precision" else "default"
