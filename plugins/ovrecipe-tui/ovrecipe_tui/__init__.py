"""A full-screen chat for ovrecipe: `ovrecipe chat NAME --frontend tui`.

Textual is imported when a conversation begins, not when ovrecipe asks for the frontend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe import hookimpl

from ovrecipe_tui.frontend import TuiFrontend

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "tui"


@hookimpl
def provider_names(role: str) -> Sequence[str]:
    """Name the frontends of this plugin."""
    return [NAME] if role == "frontend" else []


@hookimpl
def get_frontend(name: str) -> TuiFrontend | None:
    """Return who shows the answers."""
    return TuiFrontend() if name == NAME else None
