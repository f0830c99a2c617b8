"""`ovrecipe validate`: are the recipes right, and is here what they ask for?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import OvrecipeError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
    from ovrecipe.hooks.sections import validate_sections
    from ovrecipe.recipe.requirements import check_requirements

    checks: list[Callable[[], object]] = [lambda: check_requirements(recipe)]
    checks += [partial(_check_use, session, recipe, use) for use in _uses(recipe)]
    checks.append(lambda: validate_sections(recipe, session.plugins))
    for check in checks:
        try:
            check()
        except OvrecipeError as error:
            yield _named(error, recipe)
    yield from _missing_datasets(recipe)


def _named(error: OvrecipeError, recipe: Recipe) -> OvrecipeError:
    """Return the error as one of this recipe: a provider unknown says only what it looked for."""
    if isinstance(error, RecipeError):
        return error
    return RecipeError(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)


class Use(NamedTuple):
    """A provider that the recipe asks for; `where` is the key that names it."""

    role: Any
    name: str
    where: str
    options: Mapping[str, Any] | None = None


def _uses(recipe: Recipe) -> Iterator[Use]:
    from ovrecipe.recipe.model_id import split_model_id

    yield Use("source", split_model_id(recipe.model.id)[0], "model.id")
    yield Use("exporter", recipe.model.exporter, "model.exporter")
    yield Use("tokenizer_converter", recipe.tokenizer.converter, "tokenizer.converter")
    for name, variant in recipe.variants.items():
        for each in variant.compression_passes():
            yield Use("compressor", each.compressor, f"variants.{name}.options", each.options)
    for judge in recipe.check.evaluators:
        yield Use("evaluator", judge.name, f"check.evaluators.{judge.name}", judge.options)
    for spec in recipe.output.filters:
        yield Use("output_filter", spec.name, f"output.filters.{spec.name}", spec.options)


def _check_use(session: Session, recipe: Recipe, use: Use) -> None:
    """Raise unless a plugin provides it and takes its options."""
    from ovrecipe.hooks.options import validated

    provider = session.plugins.provider(use.role, use.name, recipe).provider
    if use.options is not None:
        validated(provider, use.options, where=f"{recipe.path.name}: {use.where}")


def _missing_datasets(recipe: Recipe) -> Iterator[OvrecipeError]:
    for name, variant in recipe.variants.items():
        for each in variant.compression_passes():
            path = each.dataset_path(recipe.base_dir)
            if path is not None and not Path(path).is_file():
                yield RecipeError(
                    f"recipe '{recipe.name}': variants.{name}.dataset: no file {each.dataset}",
                    remedy="a path starts at the recipe's folder; 'generated' needs no file",
                )
