"""Hooks: the contract between ovrecipe and its plugins, built-in ones included.

What a plugin imports: `hookimpl` and `section_of` from here, the types of
`ovrecipe.hooks.roles`, `ovrecipe.recipe.schema` and `ovrecipe.errors`, `session_of` for
commands (`ovrecipe.cli.session`), and `ovrecipe.testing` in its tests.
"""

from __future__ import annotations

from ovrecipe.hooks.markers import hookimpl
from ovrecipe.hooks.sections import section_of

__all__ = ["hookimpl", "section_of"]
