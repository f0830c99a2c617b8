"""What is wrong with a recipe that reads well: providers, options, templates, data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ovrecipe.errors import OvrecipeError, PromptRefused, RecipeError, RecipeInvalid, StageError
from ovrecipe.hooks.roles import Compressor, Role
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import place_in_recipe
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.yaml_reader import Loc

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided


def recipe_errors(recipe: Recipe, plugins: Plugins) -> Iterator[OvrecipeError]:
    """Yield what a build or a run of the recipe would stumble over, each thing once."""
    told: set[str] = set()
    for check in _checks(recipe, plugins):
        try:
            check()
        except OvrecipeError as error:
            named = _named(error, recipe)
            if str(named) not in told:
                told.add(str(named))
                yield named


def _checks(recipe: Recipe, plugins: Plugins) -> Iterator[Callable[[], object]]:
    """Yield what raises where something is wrong; every provider that a recipe names is asked."""
    from ovrecipe.build.stages.assemble import adapter_path
    from ovrecipe.build.stages.weights import passes_of
    from ovrecipe.hooks.plugins import named_providers
    from ovrecipe.recipe.load import check_requirements
    from ovrecipe.recipe.schema import split_model_id

    yield partial(check_requirements, recipe)
    yield partial(plugins.sections, recipe)
    yield partial(_check_template, recipe)
    yield partial(plugins.provider, "source", split_model_id(recipe.model.id)[0], recipe)
    for role, spec, loc in named_providers(recipe):
        yield partial(plugins.with_options, role, spec, loc, recipe)
        if role in TASK_ROLES:
            yield partial(_check_task, recipe, plugins, role, spec.name)
    yield partial(_check_toolchain, recipe, plugins)
    for name in recipe.adapters:
        yield partial(adapter_path, recipe, name)
    for name, variant in recipe.variants.items():
        for compression, loc in passes_of(recipe, name):
            yield partial(_check_pass, recipe, plugins, compression, loc, variant.precision)
            yield partial(_check_dataset, recipe, compression, loc)


#: Who has to know what the model is for.
TASK_ROLES: tuple[Role, ...] = ("exporter", "tokenizer_converter")


def _check_task(recipe: Recipe, plugins: Plugins, role: Role, name: str) -> None:
    """Raise unless who makes the model knows the recipe's task."""
    provided = plugins.provider(role, name, recipe)
    if recipe.task not in provided.traits.tasks:
        where = place_in_recipe(recipe, ("task",))
        known = ", ".join(provided.traits.tasks)
        kind = role.replace("_", " ")
        raise RecipeInvalid(
            f"{where}: task: {kind} '{provided.name}' does not know {recipe.task}, only {known}",
            remedy=f"leave the {kind} to the default one, or ask its author for `tasks`",
        )


def raise_first(errors: Sequence[Exception]) -> None:
    """Raise the first of the errors; the others are its notes.

    Raises:
        Exception: unless there is none.
    """
    for more in errors[1:]:
        errors[0].add_note(str(more))
    if errors:
        raise errors[0]


def _named(error: OvrecipeError, recipe: Recipe) -> OvrecipeError:
    """Return the error with the recipe's name: a provider unknown says only what it looked for."""
    if isinstance(error, RecipeError):
        return error
    named = type(error)(f"recipe '{recipe.name}': {error.message}", remedy=error.remedy)
    named.__cause__ = error.__cause__
    return named


def _check_pass(
    recipe: Recipe, plugins: Plugins, compression: CompressionPass, loc: Loc, precision: str
) -> None:
    """Raise with the knobs that the compressor would ignore, what it objects to, and options."""
    from ovrecipe.recipe.problems import Problem
    from ovrecipe.recipe.sections import Objection

    provided: Provided[Compressor] = plugins.provider("compressor", compression.compressor, recipe)
    found = provided.optional("objections", compression, precision)
    knobs = provided.traits.knobs
    if knobs is not None:
        unused = compression.model_fields_set - {"compressor", "options", *knobs}
        ignored = f"'compressor: {provided.name}' does not use it; remove it"
        found += [
            Objection((name,), ignored) for name in unused if getattr(compression, name) is not None
        ]
    if found:
        reasons = [((*loc, *objection.keys), objection.reason) for objection in found]
        problems = [Problem(place_in_recipe(recipe, at), at, reason) for at, reason in reasons]
        raise RecipeInvalid("\n".join(map(str, sorted(problems))))
    provided.options(compression.options, loc=(*loc, "options"), recipe=recipe)


def _check_toolchain(recipe: Recipe, plugins: Plugins) -> None:
    """Raise unless the exporter brings the toolchain that the recipe names."""
    from ovrecipe.hooks.roles import MAIN
    from ovrecipe.recipe.problems import Problem, place_in_recipe
    from ovrecipe.wording import perhaps

    wanted = recipe.model.toolchain
    if wanted is None:
        return
    exporter = plugins.provider("exporter", recipe.model.exporter.name, recipe)
    known = [MAIN, *(toolchain.name for toolchain in exporter.traits.toolchains)]
    if wanted not in known:
        loc = ("model", "toolchain")
        reason = (
            f"the exporter '{exporter.name}' has no toolchain '{wanted}'{perhaps(wanted, known)}"
        )
        problem = Problem(place_in_recipe(recipe, loc), loc, reason)
        raise RecipeInvalid(str(problem), remedy=f"it has: {', '.join(known)}")


def _check_template(recipe: Recipe) -> None:
    """Raise unless the recipe's own chat template is Jinja."""
    text = recipe.prompt.chat_template
    if text in {None, "model"}:
        return
    from ovrecipe.run.prompt import ChatTemplate

    try:
        ChatTemplate(str(text))
    except PromptRefused as error:
        message = f"recipe '{recipe.name}': prompt.chat_template: {error.message}"
        raise RecipeInvalid(message, remedy=error.remedy) from error


def _check_dataset(recipe: Recipe, compression: CompressionPass, loc: Loc) -> None:
    from ovrecipe.build.stages.weights import NO_FILE, dataset_error

    path = compression.dataset_path(recipe.recipe_dir)
    if path is None:
        return
    if not path.is_file():
        raise dataset_error(recipe, compression.dataset, loc, NO_FILE)
    from ovrecipe.builtin.calibration import each_text

    # An empty or binary file would be found only once the base was exported.
    try:
        next(each_text(path))
    except StageError as error:
        raise dataset_error(recipe, compression.dataset, loc, error.message) from error
