"""Which source a `model.id` belongs to."""

from __future__ import annotations

import re

_PATH_START = re.compile(r"^(\.{1,2}[/\\]|[/\\]|~|[A-Za-z]:[/\\])|^\.{1,2}$")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):(.+)$", re.DOTALL)


def split_model_id(model_id: str) -> tuple[str, str]:
    """Return (scheme, location): who brings the checkpoint, and what it is asked for.

    A path starts with `./`, `../`, `/`, `~` or a Windows drive and is `gguf` when it ends in
    `.gguf`, else `local`; `SCHEME:rest` is a plugin's (or the built-in `dist`, `hub`, `local`,
    `gguf`); everything else is an id on the hub.
    """
    if _PATH_START.match(model_id):
        return ("gguf" if model_id.lower().endswith(".gguf") else "local"), model_id
    if match := _SCHEME.match(model_id):
        return match[1], match[2]
    return "hub", model_id
