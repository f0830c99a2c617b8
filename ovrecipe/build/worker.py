"""The process of one heavy stage: `python -m ovrecipe.build.worker MODULE JOB`.

Events go to the parent as JSON lines on what was standard output; everything that libraries
print goes to standard error, which the parent has made the stage's log. The process ends when
its parent does: the parent holds standard input open and never writes to it.
"""

import json
import os
import sys
import threading
import traceback
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ovrecipe.errors import GateError, OvrecipeError, PluginError
from ovrecipe.telemetry import switch_off_telemetry


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


def run(module: str, job_path: Path, events: Events) -> int:
    """Run the job of the stage in a module, tell how it ended, and return the exit code."""
    from ovrecipe.build.stages.stage import Job, Stage, StageContext
    from ovrecipe.hooks.plugins import load_plugins

    job = Job.model_validate_json(job_path.read_text(encoding="utf-8"))
    stage: Stage = import_module(module).STAGE
    try:
        plugins = load_plugins(env=os.environ, options=job.plugin_options)
        at_work = partial(events.send, "at work")
        facts = stage.run(job, StageContext(plugins, events, os.environ, at_work))
    except OvrecipeError as error:
        # What a gate found is kept for `ovrecipe why`; where a plugin's code raised, for its
        # author: the message names only the plugin.
        if isinstance(error, GateError):
            print(error, file=sys.stderr)
        if isinstance(error, PluginError) and error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        kind, details = type(error).__name__, "".join(traceback.format_exception(error))
        told = {"message": error.message, "remedy": error.remedy, "details": details}
        events.send("error", kind=kind, **told)
        return error.exit_code
    events.send("done", facts=facts, peak_memory_bytes=peak_memory_bytes())
    return 0


if __name__ == "__main__":
    to_parent = Events()
    end_with_parent()
    switch_off_telemetry(sys.modules, os.environ)
    code = run(sys.argv[1], Path(sys.argv[2]), to_parent)
    sys.stderr.flush()
    # Tearing down torch and OpenVINO takes up to a second and changes nothing: all is written.
    os._exit(code)
