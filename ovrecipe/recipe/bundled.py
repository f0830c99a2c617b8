"""The recipes that come with ovrecipe."""

from __future__ import annotations

from pathlib import Path

import ovrecipe


def bundled_recipes_dir() -> Path:
    """Return the folder of the bundled recipes: in the wheel, or in the repository."""
    package_dir = Path(ovrecipe.__file__).parent
    in_wheel = package_dir / "_recipes"
    return in_wheel if in_wheel.is_dir() else package_dir.parent / "recipes"
