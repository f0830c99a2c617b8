"""The message for a name that no plugin provides; only made when it is needed."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from ovrecipe.errors import ProviderUnknown, RecipeInvalid
from ovrecipe.recipe.requirements import check_requirements

if TYPE_CHECKING:
    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe


def provider_unknown(plugins: Plugins, role: Role, name: str, recipe: Recipe) -> ProviderUnknown:
    """Return the error: the closest name, what is known, what is missing, what failed to load."""
    known = [each for source in plugins.enabled for each in plugins.names_of(source, role)]
    close = get_close_matches(name, known, n=1)
    hint = f"; perhaps you meant {close[0]!r}" if close else ""
    lines = [
        *_missing(recipe),
        *_failed(plugins),
        *_skipped(plugins),
        f"known: {', '.join(known)}" if known else "",
        "'ovrecipe plugins' lists what is installed",
    ]
    return ProviderUnknown(
        f"no plugin provides the {role.replace('_', ' ')} {name!r}{hint}",
        remedy="\n".join(line for line in lines if line),
    )


def _missing(recipe: Recipe) -> list[str]:
    """Return what `requires` of the recipe lacks, and how to install it."""
    try:
        check_requirements(recipe)
    except RecipeInvalid as unmet:
        return str(unmet).splitlines()
    return []


def _failed(plugins: Plugins) -> list[str]:
    return [
        f"{each.source} failed to load: {each.failure}; {each.remedy}"
        for each in plugins.failures()
    ]


def _skipped(plugins: Plugins) -> list[str]:
    reasons = ((each, plugins.selection.reason_against(each)) for each in plugins.installed)
    return [f"{source} is skipped: {reason}" for source, reason in reasons if reason is not None]
