"""The hooks: what pluggy calls in a plugin, in the order in which a recipe meets them.

Who provides a name is mostly no hook, but an entry point of the group of its role, so that names
are known without an import. Modules and objects with hooks are imported when a hook is told, or
when a name is still unknown. The order is pluggy's: registered are the plugins of `-p` as they are
given, then the installed ones by their names. Arguments may be left out, but not have defaults
(pluggy would pass nothing). What an observer (`after_...`) raises is reported with its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe

#: Marker, project and entry-point group; the group of a role is `ovrecipe.ROLE`.
PROJECT = "ovrecipe"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def providers() -> Mapping[Role, Mapping[str, object]]:  # type: ignore[empty-body]
    """Return what the plugin provides: for each role objects by name, as an entry point has them.

    An object may be written `"module:object"`, which is imported when it is asked for. Asked once,
    after the import. A name that is built in is refused, with the whole plugin.
    """


@hookspec
def after_stage(
    stage: str,
    recipe: Recipe,
    variant: str | None,
    artifact_dir: Path,
    manifest: Mapping[str, Json],
) -> None:
    """Watch a stage that ran: its artifact is published in `artifact_dir`, and read-only.

    Not called for what was built already. `manifest` is the artifact's manifest.json: `key`,
    `files`, `facts`, `seconds`, `peak_memory_bytes`. `variant` is None for what all variants share.
    """


@hookspec
def after_generation(
    recipe: Recipe, variant: str, question: str, messages: Sequence[Mapping[str, str]], result: Any
) -> None:
    """Watch a generation that ended, cancelled ones included and failed ones not.

    `messages` (each with `role` and `content`) are the conversation that was answered, and
    `question` is the last of them; `result` is an `ovrecipe.GenerationResult`. Called after the
    last text was read, and before the loop over it ends.
    """
