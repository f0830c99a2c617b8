"""Where a path of a recipe lies on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import SourceRequest


def user_path(request: SourceRequest) -> Path:
    """Return the path that `model.id` names: `~` is the user's home, the recipe's folder the start.

    The home comes from the environment that was handed in, not from this process.
    """
    location = request.location
    if location == "~" or location.startswith(("~/", "~\\")):
        home = request.env.get("HOME") or request.env.get("USERPROFILE")
        if home:
            return Path(home, location[2:])
    return request.base_dir / location
