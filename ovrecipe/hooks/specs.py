"""The hooks, in the order in which a recipe meets them.

A hook chooses, an object works: each `get_*` hook is asked once per build or once per run with
the name that the recipe (or the command line) gave, and answers with a provider object, or with
None when the name is not one of the plugin's own. The protocols of the objects are in
`ovrecipe.hooks.roles`. Hooks are implemented in a module or on an object that is registered
through the entry-point group `ovrecipe`; a plugin implements those that it needs.

Two plugins that answer for one name are an error that names both distributions. Arguments may
be left out of an implementation, but must not have defaults (pluggy would then pass nothing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.hooks.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import (
        Command,
        Compressor,
        Exporter,
        FilterProvider,
        Frontend,
        Role,
        Source,
        TokenizerConverter,
    )
    from ovrecipe.recipe.schema import Recipe


@hookspec
def provider_names(role: Role) -> Sequence[str]:  # type: ignore[empty-body]
    """Name what the plugin provides for a role.

    Called for `ovrecipe plugins` and for "perhaps you meant"; never asked for on the way of a
    build that names its providers correctly. None and an empty list mean the same.
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
def get_output_filter(name: str, recipe: Recipe) -> FilterProvider | None:
    """Return who filters the shown text; `name` stands in `output.filters`."""


@hookspec(firstresult=True)
def get_frontend(name: str, recipe: Recipe) -> Frontend | None:
    """Return who shows the answer; `name` is the command line's `--frontend`."""


@hookspec
def get_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Return commands to add to `ovrecipe`; asked only when a command is not built in."""
