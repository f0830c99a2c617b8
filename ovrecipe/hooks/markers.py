"""The one name under which plugins are found: entry-point group, marker and project.

Commands and observers are announced in groups of their own: `ovrecipe --help` can name commands
without importing anybody, and a build or an answer imports the plugins that watch and no others.
"""

from __future__ import annotations

import pluggy

PROJECT = "ovrecipe"
COMMANDS_GROUP = f"{PROJECT}.commands"
OBSERVERS_GROUP = f"{PROJECT}.observers"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
