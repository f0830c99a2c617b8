"""From an exception to a message on stderr and an exit code; the only place that does it."""

from __future__ import annotations

import sys
from typing import Any

from ovrecipe.errors import OvrecipeError

INTERRUPTED = 130


def exit_code_of(command: Any) -> int:
    """Run a click command and return its exit code; our own errors are shown without traceback."""
    try:
        return int(command(standalone_mode=True) or 0)
    except OvrecipeError as error:
        print(f"ovrecipe: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("ovrecipe: interrupted", file=sys.stderr)
        return INTERRUPTED
