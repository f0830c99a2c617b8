"""What is wrong with a recipe that reads well: providers, options, templates, data sets."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.errors import OvrecipeError, RecipeError, RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.recipe.compression import CompressionPass
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.recipe.yaml_reader import Loc


class Use(NamedTuple):
    """A provider that the recipe asks for; `loc` is where it says so, options below it."""

    role: Any
    name: str
    loc: Loc
    options: Mapping[str, Any] | None = None
    compression: CompressionPass | None = None


def recipe_errors(recipe: Recipe, plugins: Plugins) -> Iterator[OvrecipeError]:
    """Yield what a build or a run of the recipe would stumble over, each thing once."""
    from ovrecipe.recipe.load import check_requirements

    checks: list[Callable[[], object]] = [
        partial(check_requirements, recipe),
        partial(plugins.sections, recipe),
        partial(_check_template, recipe),
    ]
    checks += [partial(_check_use, recipe, plugins, use) for use in uses(recipe)]
    told: set[str] = set()
    for check in checks:
        try:
            check()
        except OvrecipeError as error:
            named = _named(error, recipe)
            if str(named) not in told:
                told.add(str(named))
                yield named
    yield from _missing_datasets(recipe)


def require_sound(recipe: Recipe, plugins: Plugins) -> None:
    """Raise the first of `recipe_errors`; the others are its notes.

    Raises:
        OvrecipeError: the recipe cannot be built or run as it stands.
    """
    errors = list(recipe_errors(recipe, plugins))
    if not errors:
        return
    for more in errors[1:]:
        errors[0].add_note(str(more))
    raise errors[0]


def _named(error: OvrecipeError, recipe: Recipe) -> OvrecipeError:
    """Return the error with the recipe's name: a provider unknown says only what it looked for."""
    if isinstance(error, RecipeError):
        return error
    return type(error)(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)


def uses(recipe: Recipe) -> Iterator[Use]:
    """Yield every provider that a recipe names."""
    from ovrecipe.recipe.schema import split_model_id

    yield Use("source", split_model_id(recipe.model.id)[0], ("model", "id"))
    exporter, converter = recipe.model.exporter, recipe.tokenizer.converter
    yield Use("exporter", exporter.name, ("model", "exporter"), exporter.options)
    yield Use("tokenizer_converter", converter.name, ("tokenizer", "converter"), converter.options)
    for name, variant in recipe.variants.items():
        for number, each in enumerate(variant.compression_passes()):
            inner = ("passes", number) if variant.passes else ()
            loc = ("variants", name, *inner)
            yield Use("compressor", each.compressor, loc, each.options, each)
    for number, spec in enumerate(recipe.check.evaluators):
        yield Use("evaluator", spec.name, ("check", "evaluators", number), spec.options)
    for number, spec in enumerate(recipe.output.filters):
        yield Use("output_filter", spec.name, ("output", "filters", number), spec.options)


def _check_use(recipe: Recipe, plugins: Plugins, use: Use) -> None:
    """Raise unless a plugin provides it and takes its options and knobs."""
    provided = plugins.provider(use.role, use.name, recipe)
    if use.options is not None:
        provided.options(use.options, loc=(*use.loc, "options"), recipe=recipe)
    if use.compression is not None and (knobs := provided.traits.knobs) is not None:
        _refuse_unused(recipe, use, use.compression, knobs)


def _refuse_unused(
    recipe: Recipe, use: Use, compression: CompressionPass, knobs: Iterable[str]
) -> None:
    """Raise when a recipe gives a knob that the compressor would ignore."""
    from ovrecipe.recipe.problems import dotted, place_in_recipe

    unused = [
        name
        for name in compression.model_fields_set - {"compressor", "options", *knobs}
        if getattr(compression, name) is not None
    ]
    lines = []
    for name in sorted(unused):
        loc = (*use.loc, name)
        where = f"{place_in_recipe(recipe, loc)}: {dotted(loc)}"
        lines.append(f"{where}: 'compressor: {use.name}' does not use it; remove it")
    if lines:
        raise RecipeInvalid("\n".join(lines))


def _check_template(recipe: Recipe) -> None:
    """Raise unless the recipe's own chat template is Jinja."""
    text = recipe.prompt.chat_template
    if text in {None, "model"}:
        return
    from ovrecipe.errors import PromptRefused
    from ovrecipe.run.chat_template import ChatTemplate

    try:
        ChatTemplate(str(text), special_tokens={}, clock=lambda: datetime.now(UTC))
    except PromptRefused as error:
        raise RecipeInvalid(
            f"recipe '{recipe.name}': prompt.chat_template: {error.message}", remedy=error.remedy
        ) from error


def _missing_datasets(recipe: Recipe) -> Iterator[OvrecipeError]:
    for name, variant in recipe.variants.items():
        for each in variant.compression_passes():
            path = each.dataset_path(recipe.base_dir)
            if path is not None and not path.is_file():
                yield RecipeInvalid(
                    f"recipe '{recipe.name}': variants.{name}.dataset: no file {each.dataset}",
                    remedy="a path starts at the recipe's folder; 'generated' needs no file",
                )
