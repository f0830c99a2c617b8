"""The one name under which plugins are found: entry-point group, marker and project."""

from __future__ import annotations

import pluggy

PROJECT = "ovrecipe"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
