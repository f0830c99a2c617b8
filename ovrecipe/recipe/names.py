"""What recipes and variants may be called: names that every system takes as a file's."""

from __future__ import annotations

import re

PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
LETTERS = "a name is letters, digits, '.', '-' and '_', and starts with a letter or digit"
#: Windows keeps these for devices, with any ending: `nul.yaml` is the device too.
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)


def name_objection(name: str) -> str | None:
    """Return what is wrong with the name of a recipe or variant; None when nothing is.

    The same on every system: a recipe written on one is built on another.
    """
    if not re.fullmatch(PATTERN, name):
        return LETTERS
    if name.endswith("."):
        return "a name does not end in '.', which Windows drops"
    if name.partition(".")[0].lower() in DEVICES:
        return f"Windows keeps '{name.partition('.')[0]}' for a device"
    return None
