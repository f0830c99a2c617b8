"""An output filter for ovrecipe: replaces what is private in what the user sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe import hookimpl

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import FilterProvider, Role

NAME = "redact"


@hookimpl
def provider_names(role: Role) -> list[str]:
    """Name the filters of this plugin."""
    return [NAME] if role == "output_filter" else []


@hookimpl
def get_output_filter(name: str) -> FilterProvider | None:
    """Return who filters the shown text."""
    if name != NAME:
        return None
    from ovrecipe_redact.provider import RedactProvider

    return RedactProvider()
