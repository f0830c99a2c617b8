"""A web page for the models that ovrecipe builds.

`ovrecipe web NAME[:VARIANT]` serves it; `ovrecipe chat NAME --frontend gradio` serves it for a
conversation that is open already. The way of an instruction through the modules: `page` (what
there is to see) → `handlers` (what a click does) → `session` (one browser) → `engine` (one model,
first come, first served) → `turn` (one answer as it comes) → `figures` (how it is shown).

gradio is imported when a page is built, never by looking for plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import Role
    from ovrecipe_gradio.frontend import GradioFrontend

NAME = "gradio"


@hookimpl
def provider_names(role: Role) -> Sequence[str]:
    """Name the one frontend."""
    return [NAME] if role == "frontend" else []


@hookimpl
def get_frontend(name: str) -> GradioFrontend | None:
    """Return the frontend of `ovrecipe chat --frontend gradio`."""
    if name != NAME:
        return None
    from ovrecipe_gradio.frontend import GradioFrontend

    return GradioFrontend()
