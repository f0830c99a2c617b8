"""What the words `NAME` and `NAME:VARIANT` of a command line mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.run import Target
from ovrecipe.recipe.find import check_variant, split_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.build.context import BuildContext


def targets_of(context: BuildContext, words: Sequence[str]) -> tuple[Target, ...]:
    """Return the variants that the words name: all but the optional ones for a bare name.

    Raises:
        RecipeError: a recipe or a variant does not exist; checked for all words before any work.
    """
    found: dict[Target, None] = {}
    for word in words:
        name, variant = split_target(word)
        recipe = context.plan(name).recipe
        if variant is not None:
            check_variant(recipe, variant)
        for each in recipe.default_variants() if variant is None else (variant,):
            found[Target(name, each)] = None
    return tuple(found)
