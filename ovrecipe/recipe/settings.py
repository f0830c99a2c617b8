"""What a built variant took from its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.recipe.base import Section
    from ovrecipe.recipe.schema import Recipe


def settings_of(recipe: Recipe, variant: str) -> dict[str, Any]:
    """Return, as JSON, all that the recipe says of a variant's directory.

    It is part of the directory's key, and so of its manifest: whoever opens the directory can
    tell whether the recipe still says the same, without planning a build. What decides on the
    text behind the model (`output`) or on the gates (`check`) is not in it.
    """
    return {
        "model": _said(recipe.model),
        "tokenizer": _said(recipe.tokenizer),
        "prompt": _said(recipe.prompt),
        "variant": _said(recipe.variants[variant], exclude={"optional", "generation"}),
        "generation": _said(recipe.generation_of(variant)),
    }


def _said(section: Section, exclude: set[str] | None = None) -> dict[str, Any]:
    # Without defaults, so that a key that a later version adds makes nothing stale.
    return section.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude)
