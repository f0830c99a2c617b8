"""From an exception to a message on stderr and an exit code; the only place that does it."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, cast

from click.utils import PacifyFlushWrapper

from ovrecipe.errors import DiskFull, OvrecipeError

INTERRUPTED = 130
#: What a shell shows for a program that SIGPIPE ended; click ends with 1 and wraps the stream.
READER_LEFT = 141


def exit_code_of(command: Any) -> int:
    """Run a click command and return its exit code; our own errors are shown without traceback."""
    try:
        return int(command(standalone_mode=True) or 0)
    except OvrecipeError as error:
        for each in (str(error), *getattr(error, "__notes__", ())):
            print(f"ovrecipe: {each}", file=sys.stderr)
        return error.exit_code
    except SystemExit as left:
        if left.code == 1 and _reader_left(left):
            return READER_LEFT
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        return _output_is_full()
    except KeyboardInterrupt:
        print("ovrecipe: interrupted", file=sys.stderr)
        return INTERRUPTED


def _reader_left(left: SystemExit) -> bool:
    """Return whether click or rich ended the program because nobody reads standard output."""
    wrapped = isinstance(sys.stdout, cast("type[object]", PacifyFlushWrapper))
    return wrapped or isinstance(left.__context__, BrokenPipeError)


def _output_is_full() -> int:
    """Say that standard output is full, and keep Python from saying it again at its end."""
    print("ovrecipe: standard output: no space left on device", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return DiskFull.exit_code
