"""What is said when a lookup fails: the name, who is to blame, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.errors import PluginError, ProviderClaimedTwice, ProviderUnknown, RecipeInvalid
from ovrecipe.hooks.first_party import install_hint
from ovrecipe.hooks.loading import one_line
from ovrecipe.hooks.selection import DISABLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.loading import PluginSource
    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe


def provider_unknown(plugins: Plugins, role: Role, name: str, recipe: Recipe) -> ProviderUnknown:
    """Return the error: the closest name, what is known, what is missing, what failed to load."""
    from difflib import get_close_matches

    known = [each for source in plugins.enabled for each in plugins.names_of(source, role)]
    close = get_close_matches(name, known, n=1)
    hint = f"; perhaps you meant {close[0]!r}" if close else ""
    lines = [
        install_hint(role, name, plugins.installed) or "",
        *_missing(recipe),
        *_failed(plugins),
        *_skipped(plugins),
        f"known: {', '.join(known)}" if known else "",
        "'ovrecipe plugins' lists what is installed",
    ]
    return ProviderUnknown(
        f"no plugin provides the {spoken(role)} {name!r}{hint}",
        remedy="\n".join(line for line in lines if line),
    )


def _missing(recipe: Recipe) -> list[str]:
    """Return what `requires` of the recipe lacks, and how to install it."""
    from ovrecipe.recipe.load import check_requirements

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


def spoken(role: Role) -> str:
    """Return a role as a sentence has it."""
    return role.replace("_", " ")


def hook_raised(source: PluginSource, hook: str, error: BaseException) -> PluginError:
    """Return the error for a hook that raised, with what it raised as its cause."""
    trouble = PluginError(
        f"{source}: {hook} raised {one_line(error)}",
        remedy=f"update the plugin, or skip it with {DISABLED}={source.name}",
    )
    trouble.__cause__ = error
    return trouble


def claimed_twice(role: Role, name: str, sources: Sequence[PluginSource]) -> ProviderClaimedTwice:
    """Return the error for a name that more than one plugin answers for."""
    return ProviderClaimedTwice(
        f"the {spoken(role)} {name!r} is claimed by " + " and ".join(map(str, sources)),
        remedy=f"skip one with {DISABLED}={sources[-1].name}, or uninstall it",
    )
