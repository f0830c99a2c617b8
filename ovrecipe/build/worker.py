"""The process of one heavy stage: `python -m ovrecipe.build.worker JOB`.

Events go to the parent as JSON lines on what was standard output; everything that libraries
print goes to standard error, which the parent has made the stage's log. The process ends when
its parent does: the parent holds standard input open and never writes to it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from ovrecipe.errors import OvrecipeError, PluginError
from ovrecipe.telemetry import switch_off_telemetry


class Events:
    """Writes events to the parent; safe from any thread."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        """Write one line."""
        line = json.dumps({"event": event, **fields})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()

    def __call__(
        self, message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        """Report progress; this is what stages and providers are given."""
        # Libraries count in numpy's integers, which JSON does not take.
        numbers = {"done": done, "total": total}
        plain = {name: None if each is None else float(each) for name, each in numbers.items()}
        self.send("progress", message=message, **plain)


def claim_stdout() -> Events:
    """Keep standard output for events and send all that is printed to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Events(stream)


def end_with_parent() -> None:
    """End this process, and what it started, when the parent's end of stdin closes."""

    def watch() -> None:
        os.read(0, 1)
        _end_group()

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()


def _end_group() -> None:
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), 9)
    os._exit(1)


def peak_memory_bytes() -> int:
    """Return the largest resident set this process had, in bytes."""
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


def run(job_path: Path, events: Events) -> int:
    """Run the job and return the exit code; a known error travels as an event."""
    from ovrecipe.build.job import Bench, read_job
    from ovrecipe.build.stages import stage_named
    from ovrecipe.hooks.plugins import load_plugins

    job = read_job(job_path)
    try:
        plugins = load_plugins(env=os.environ, options=job.plugin_options)
        bench = Bench(plugins=plugins, progress=events, env=os.environ)
        facts = stage_named(job.stage).run(job, bench)
    except OvrecipeError as error:
        _log_cause(error)
        events.send(
            "error",
            kind=type(error).__name__,
            message=error.message,
            remedy=error.remedy,
            details="".join(traceback.format_exception(error)),
        )
        return error.exit_code
    events.send("done", facts=facts, peak_memory_bytes=peak_memory_bytes())
    return 0


def _log_cause(error: OvrecipeError) -> None:
    """Write to the log where a plugin's code raised; the message names only the plugin."""
    if isinstance(error, PluginError) and error.__cause__ is not None:
        traceback.print_exception(error.__cause__)


def main() -> None:
    """Run the job named on the command line."""
    events = claim_stdout()
    end_with_parent()
    switch_off_telemetry(sys.modules, os.environ)
    code = run(Path(sys.argv[1]), events)
    sys.stderr.flush()
    # Tearing down torch and OpenVINO takes up to a second and changes nothing: all is written.
    os._exit(code)


if __name__ == "__main__":
    main()
