"""Processes of ours that work for another one: how they are started and ended, how they speak.

What such a process says are JSON lines on what was its standard output. It ends when its parent
does: the parent holds its standard input open and never writes to it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ovrecipe import errors
from ovrecipe.errors import OvrecipeError

#: How long a process may take to end when asked, in seconds.
GRACE = 5.0


class Events:
    """Writes events to the parent; safe from any thread."""

    def __init__(self) -> None:
        """Keep standard output for events and send all that is printed to standard error."""
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        """Write one line."""
        # Libraries count in numpy's numbers, which JSON does not take.
        line = json.dumps({"event": event, **fields}, default=float)
        with self._lock:
            print(line, file=self._stream, flush=True)

    def send_error(self, error: OvrecipeError) -> None:
        """Tell the parent what `heard_error` makes an exception of again."""
        told = {"message": error.message, "remedy": error.remedy}
        details = "".join(traceback.format_exception(error))
        self.send("error", kind=type(error).__name__, **told, details=details)

    def __call__(
        self, message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        """Report progress; this is what stages and providers are given."""
        self.send("progress", message=message, done=done, total=total, unit=unit)


def end_with_parent() -> None:
    """End this process, and what it started, when the parent's end of stdin closes."""

    def wait() -> None:
        os.read(0, 1)
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), 9)
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()


def peak_memory_bytes() -> int:
    """Return the largest resident set this process had."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    status_path = Path("/proc/self/status")
    if status_path.exists():
        # getrusage would answer with the parent's size where that was larger: exec keeps it.
        status = status_path.read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class RemoteTraceback(Exception):
    """Where the error arose in the other process; the cause of ours, for `--traceback`."""


def heard_error(title: str, told: Mapping[str, Any], default: type[OvrecipeError]) -> OvrecipeError:
    """Return the error that another process sent, of its own kind; `default` where we lack it."""
    kind: type[OvrecipeError] = getattr(errors, told["kind"], default)
    found = kind(f"{title}: {told['message']}", remedy=told["remedy"])
    found.__cause__ = RemoteTraceback("\n" + told["details"])
    return found


@contextmanager
def started(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: IO[bytes],
    hear: Callable[[dict[str, Any]], None],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process whose events are heard, in a thread of its own; in the end all is gone."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=env,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reader = threading.Thread(target=_listen, args=(process.stdout, hear), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        _end_group(process)
        # What it said last is read; a child that left the group may hold the stream open.
        reader.join(GRACE)
        process.stdin.close()
        if not reader.is_alive():
            process.stdout.close()


def _listen(lines: IO[bytes], hear: Callable[[dict[str, Any]], None]) -> None:
    for line in lines:
        # A process that is killed may leave half a line behind, which is no event.
        with suppress(ValueError):
            hear(json.loads(line))


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, which outlives it where it ended by itself."""
    # Also when the process itself is gone: what it started may not heed the first signal.
    for name in ("SIGTERM", "SIGKILL"):
        if sys.platform == "win32":
            _end_tree(process.pid)
        else:
            # The group may be gone already, which is what was wanted.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, getattr(signal, name))
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _end_tree(pid: int) -> None:
    """End a process and what it started, where there are no process groups to signal."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
