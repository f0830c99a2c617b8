"""What is wrong with a recipe that reads well: providers, options, templates, data sets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.errors import OvrecipeError, RecipeError, RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Compressor
    from ovrecipe.recipe.compression import CompressionPass
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.recipe.yaml_reader import Loc


class Use(NamedTuple):
    """A provider that the recipe asks for; `loc` is where it says so, options below it.

    `judged` is the compressor's pass and the precision.
    """

    role: Any
    name: str
    loc: Loc
    options: Mapping[str, Any] | None = None
    judged: tuple[CompressionPass, str] | None = None


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
    named = type(error)(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)
    named.__cause__ = error.__cause__
    return named


def uses(recipe: Recipe) -> Iterator[Use]:
    """Yield every provider that a recipe names."""
    from ovrecipe.recipe.schema import split_model_id

    yield Use("source", split_model_id(recipe.model.id)[0], ("model", "id"))
    exporter, converter = recipe.model.exporter, recipe.tokenizer.converter
    yield Use("exporter", exporter.name, ("model", "exporter"), exporter.options)
    yield Use("tokenizer_converter", converter.name, ("tokenizer", "converter"), converter.options)
    for name, variant in recipe.variants.items():
        for number, each in enumerate(variant.compression_passes()):
            judged, loc = (each, variant.precision), recipe.pass_loc(name, number)
            yield Use("compressor", each.compressor, loc, each.options, judged)
    for number, spec in enumerate(recipe.check.evaluators):
        yield Use("evaluator", spec.name, ("check", "evaluators", number), spec.options)
    for number, spec in enumerate(recipe.output.filters):
        yield Use("output_filter", spec.name, ("output", "filters", number), spec.options)


def _check_use(recipe: Recipe, plugins: Plugins, use: Use) -> None:
    """Raise unless a plugin provides it and takes its knobs and options."""
    provided = plugins.provider(use.role, use.name, recipe)
    if use.judged is not None:
        _check_knobs(recipe, provided, use.loc, *use.judged)
    if use.options is not None:
        provided.options(use.options, loc=(*use.loc, "options"), recipe=recipe)


def _check_knobs(
    recipe: Recipe,
    provided: Provided[Compressor],
    loc: Loc,
    compression: CompressionPass,
    precision: str,
) -> None:
    """Raise with the knobs of a pass that the compressor would ignore, and what it objects to."""
    from ovrecipe.recipe.problems import Problem, place_in_recipe

    with provided.blamed():
        objections = [*(provided.optional("objections", compression, precision) or ())]
    reasons = [(each.keys, each.reason) for each in objections]
    knobs = provided.traits.knobs
    if knobs is not None:
        unused = compression.model_fields_set - {"compressor", "options", *knobs}
        ignored = f"'compressor: {provided.name}' does not use it; remove it"
        reasons += [((name,), ignored) for name in unused if getattr(compression, name) is not None]
    problems = [
        Problem(place_in_recipe(recipe, (*loc, *keys)), (*loc, *keys), reason)
        for keys, reason in reasons
    ]
    if problems:
        raise RecipeInvalid("\n".join(map(str, sorted(problems))))


def _check_template(recipe: Recipe) -> None:
    """Raise unless the recipe's own chat template is Jinja."""
    text = recipe.prompt.chat_template
    if text in {None, "model"}:
        return
    from ovrecipe.errors import PromptRefused
    from ovrecipe.run.prompt import ChatTemplate

    try:
        ChatTemplate(str(text))
    except PromptRefused as error:
        raise RecipeInvalid(
            f"recipe '{recipe.name}': prompt.chat_template: {error.message}", remedy=error.remedy
        ) from error


def _missing_datasets(recipe: Recipe) -> Iterator[OvrecipeError]:
    from ovrecipe.build.stages.weights import dataset_error

    for name, variant in recipe.variants.items():
        for number, each in enumerate(variant.compression_passes()):
            path = each.dataset_path(recipe.base_dir)
            if path is not None and not path.is_file():
                loc = (*recipe.pass_loc(name, number), "dataset")
                yield dataset_error(recipe, loc, str(each.dataset), "no such file")
