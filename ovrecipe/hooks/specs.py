"""The hooks, in the order in which a recipe meets them.

A hook chooses, an object works: each `get_*` hook is asked once per build or once per run with
the name that the recipe (or the command line) gave, and answers with a provider object, or with
None when the name is not one of the plugin's own. The protocols of the objects are in
`ovrecipe.hooks.roles`. Hooks are implemented in a module or on an object that is registered
through the entry-point group `ovrecipe`; a plugin implements those that it needs.

Names are owned: the built-in ones by ovrecipe, and an entry point's own name by its plugin, so
that a lookup imports no more plugins than it must. For every other name all plugins are asked,
and two that answer are an error that names both distributions. Arguments may be left out of an
implementation, but must not have defaults (pluggy would then pass nothing).

Observers are told what happened, when it is done. Many may watch, whatever they raise is reported
and changes nothing, and they are called one at a time. A distribution announces a module with
observer hooks in the group `ovrecipe.observers` (too), so that others need not be imported to
find out; a plugin of `-p` is asked anyway.

Commands are no hook: a distribution announces them as entry points of the group
`ovrecipe.commands`, whose name is the command and whose object is a typer callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.hooks.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from ovrecipe.hooks.roles import (
        Compressor,
        Evaluator,
        Exporter,
        FilterProvider,
        Frontend,
        Role,
        Source,
        TokenizerConverter,
    )
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import GenerationResult, Json


@hookspec
def provider_names(role: Role) -> Sequence[str]:  # type: ignore[empty-body]
    """Name what the plugin provides for a role.

    Asked once, when the plugin is loaded: for `ovrecipe plugins`, for "perhaps you meant", and
    to refuse a plugin that claims a built-in name. List every fixed name here; a name made up of
    parts (`awq-g64`) may be answered without being listed. None means no names.
    """


@hookspec(firstresult=True)
def get_recipe_section(name: str) -> type[BaseModel] | None:
    """Return the pydantic class of `plugins: NAME:` in a recipe, if the plugin owns NAME.

    The section is validated before a build or run starts. It is part of the cache key of each
    stage for which this plugin is the provider. `ovrecipe.hooks.section_of` reads it.
    """


@hookspec(firstresult=True)
def get_source(name: str, recipe: Recipe) -> Source | None:
    """Return who brings the checkpoint; `name` is the scheme of `model.id`.

    Schemes of the built-in plugin: `hub`, `local`, `gguf` and `dist`.
    """


@hookspec(firstresult=True)
def get_exporter(name: str, recipe: Recipe) -> Exporter | None:
    """Return who turns the checkpoint into the base IR; `name` is `model.exporter`."""


@hookspec(firstresult=True)
def get_tokenizer_converter(name: str, recipe: Recipe) -> TokenizerConverter | None:
    """Return who converts the tokenizer; `name` is `tokenizer.converter`."""


@hookspec(firstresult=True)
def get_compressor(name: str, recipe: Recipe) -> Compressor | None:
    """Return who compresses the weights; `name` is the `compressor` of a pass."""


@hookspec(firstresult=True)
def get_evaluator(name: str, recipe: Recipe) -> Evaluator | None:
    """Return who judges a built variant; `name` stands in `check.evaluators`."""


@hookspec
def after_stage(
    stage: str,
    recipe: Recipe,
    variant: str | None,
    artifact_dir: Path,
    manifest: Mapping[str, Json],
) -> None:
    """Watch a stage that ran: its artifact is published in `artifact_dir`, and read-only.

    Not called for what was built already. `manifest` is the artifact's manifest.json: `key`,
    `files`, `facts`, `seconds`, `peak_memory_bytes`. `variant` is None for stages that all
    variants share. The build goes on when the hook returns.
    """


@hookspec(firstresult=True)
def get_output_filter(name: str, recipe: Recipe) -> FilterProvider | None:
    """Return who filters the shown text; `name` stands in `output.filters`."""


@hookspec(firstresult=True)
def get_frontend(name: str, recipe: Recipe) -> Frontend | None:
    """Return who shows the answer; `name` is the command line's `--frontend`."""


@hookspec
def after_generation(recipe: Recipe, variant: str, result: GenerationResult) -> None:
    """Watch a generation that ended, cancelled ones included and failed ones not.

    Called where the answer is read, after its last text and before the loop over it ends.
    """
