"""How a program ends that is stopped, or whose standard output is closed, full or left."""

import errno
import os
import sys
from pathlib import Path

from ovrecipe.errors import DiskFull, is_disk_full

#: What a shell shows for a program that Ctrl-C ended, and for one that SIGPIPE ended.
INTERRUPTED, READER_LEFT = 130, 141
STOPPED = "stopped; finished stages are kept, build again to go on"


def require_streams() -> None:
    """Put nothing in the place of a closed standard input or error; output must be there.

    Raises:
        SystemExit: standard output is closed, and no file may come to stand in its place.
    """
    for name, mode in (("stdin", "r"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed by the caller
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - as long as we live
    if getattr(sys, "stdout") is None:  # noqa: B009 - its type says that this cannot be
        sys.exit("ovrecipe: standard output is closed")


def lost_output(error: OSError) -> int:
    """Return the exit code for a standard output that is full or left; raise any other error."""
    left = error.errno == errno.EPIPE
    if error.filename is not None or not (left or is_disk_full(error)):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python says it again at its end
    if left:
        return READER_LEFT
    print("ovrecipe: standard output: no space left on device", file=sys.stderr)
    return DiskFull.exit_code


def end_when_lost() -> None:
    """Let what is written into standard output end the program when that is full or left.

    For who holds the stream already and would print a traceback, as doit's commands do.
    """
    stream, write = sys.stdout, sys.stdout.write

    def write_or_end(text: str) -> int:
        try:
            written = write(text)
            stream.flush()
        except OSError as error:
            sys.exit(lost_output(error))
        return written

    stream.write = write_or_end  # type: ignore[method-assign]
