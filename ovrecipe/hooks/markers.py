"""The one name under which plugins are found: entry-point group, marker and project.

Commands are announced in a group of their own, so that `ovrecipe --help` can name them without
importing anybody.
"""

from __future__ import annotations

import pluggy

PROJECT = "ovrecipe"
COMMANDS_GROUP = f"{PROJECT}.commands"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
