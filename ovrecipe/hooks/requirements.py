"""What a recipe wants to be installed: `requires:`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ovrecipe.errors import PluginError

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe


def check_requirements(recipe: Recipe) -> None:
    """Refuse a recipe whose plugins are not installed in the versions it asks for.

    Looks at the named distributions only and imports nothing.

    Raises:
        PluginError: one is missing, too old or too new.
    """
    unmet = unmet_requirements(recipe)
    if unmet:
        raise PluginError(
            f"{recipe.path.name}: requires.plugins: {len(unmet)} not fulfilled",
            remedy="\n".join(unmet),
        )


def unmet_requirements(recipe: Recipe) -> list[str]:
    """Return a line with what to install for each plugin that the recipe misses."""
    lines = [_unmet(name, wanted) for name, wanted in recipe.requires.plugins.items()]
    return [line for line in lines if line is not None]


def _unmet(name: str, wanted: str) -> str | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    install = f"pip install '{name}{wanted}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"the recipe needs {name}, which is not installed: {install}"
    try:
        fits = SpecifierSet(wanted).contains(found, prereleases=True)
    except InvalidSpecifier:
        return f"the recipe wants {name} {wanted!r}, which is no version specifier such as '>=1.2'"
    return None if fits else f"the recipe needs {name}{wanted}, and {found} is here: {install}"
