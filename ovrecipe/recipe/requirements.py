"""`requires`: is installed what the recipe needs to mean what it says?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from ovrecipe.errors import RecipeInvalid
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe

#: Returns the version of an installed distribution, or None; see `installed_version`.
Installed: TypeAlias = Callable[[str], str | None]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution in this environment, or None."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def check_requirements(recipe: Recipe, *, installed: Installed = installed_version) -> None:
    """Raise RecipeInvalid, with what to install, unless all that the recipe requires is here."""
    unmet = list(_unmet(recipe, installed))
    if unmet:
        wanted = " ".join(f"'{requirement}'" for requirement, _ in unmet)
        lines = [f"recipe '{recipe.name}' requires {req}, {found}" for req, found in unmet]
        raise RecipeInvalid("\n".join(lines), remedy=f"pip install {wanted}")


def _unmet(recipe: Recipe, installed: Installed) -> Iterator[tuple[str, str]]:
    """Yield (requirement, what was found instead)."""
    own = recipe.requires.ovrecipe
    if own is not None and not satisfies(__version__, own):
        yield f"ovrecipe{own}", f"but this is ovrecipe {__version__}"
    for distribution, specifier in recipe.requires.plugins.items():
        version = installed(distribution)
        if version is None:
            yield f"{distribution}{specifier}", "which is not installed"
        elif not satisfies(version, specifier):
            yield f"{distribution}{specifier}", f"but {distribution} {version} is installed"


def satisfies(version: str, specifier: str) -> bool:
    """Return whether a version fits `>=1.2,<2`; pre-releases count as what they are."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def unmet_ovrecipe(document: object) -> str | None:
    """Return a hint when an unvalidated recipe was written for another ovrecipe."""
    from packaging.specifiers import InvalidSpecifier

    requires = document.get("requires") if isinstance(document, dict) else None
    wanted = requires.get("ovrecipe") if isinstance(requires, dict) else None
    if not isinstance(wanted, str):
        return None
    try:
        fits = satisfies(__version__, wanted)
    except InvalidSpecifier:
        return None
    return None if fits else f"it was written for ovrecipe{wanted}; this is {__version__}"
