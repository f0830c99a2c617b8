"""A stage's process, seen from outside: start it, listen to it, end it with all it started."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe import errors
from ovrecipe.build.events import MemorySeen, Progressed
from ovrecipe.build.memory import memory_available_bytes, oom_kills
from ovrecipe.errors import DiskFull, OvrecipeError, StageError, StageKilled
from ovrecipe.store.disk import free_bytes
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ovrecipe.build.events import Watch
    from ovrecipe.build.stages.stage import Job, Stage

LOG_NAME = "log.txt"
#: How often memory is sampled and a wish to cancel is looked at, in seconds.
TICK = 0.1
#: How long a process may take to end when asked, in seconds.
GRACE = 5.0
#: What the kernel sends when memory ends, and what people and supervisors send (Windows has no
#: names for them); every other signal is a crash.
KILLED = 9
FROM_OUTSIDE = (1, 2, KILLED, 15)
#: With less memory than this available, a process that was killed was probably killed for it.
LOW_BYTES = 1_000_000_000
#: With less room than this, a stage that failed is taken to have failed for want of room.
FULL_BYTES = 4_000_000
#: What libraries say of a full disk: the system's own words, OpenVINO's and numpy's writer. Those
#: that remove what they had half written leave no other trace of it.
FULL = re.compile(
    r"no space left|disk quota exceeded|(os error|errno) 28\b|iostream error"
    r"|\d+ requested and \d+ written",
    re.IGNORECASE,
)


@dataclass
class Seen:
    """What was seen of a process while it was alive; None before the first look."""

    peak_bytes: int = 0
    available_bytes: int | None = None
    least_room_bytes: int | None = None
    killed_for_memory: bool = False

    def said(self) -> str:
        """Return what is known of its memory, in a phrase."""
        peak = f"the largest it was seen is {amount(self.peak_bytes)}" if self.peak_bytes else ""
        if self.available_bytes is None:
            return peak
        left = f"{amount(self.available_bytes)} of memory were available then"
        return f"{peak}, and {left}" if peak else left


def run_worker(
    stage: Stage,
    job: Job,
    title: str,
    watch: Watch,
    *,
    env: Mapping[str, str],
    cancelled: Callable[[], bool],
) -> Mapping[str, Any]:
    """Run the job in a process group of its own and return its last event.

    The process's TMPDIR lies in the staging folder, so that what it leaves behind goes with it.

    Raises:
        OvrecipeError: what the stage raised, as it raised it.
        DiskFull: it failed and the disk was full, whatever it said.
        StageKilled: the process was ended from outside.
        StageError: the process ended without a word; the message has the end of its log.
        KeyboardInterrupt: `cancelled` said so; the group is gone.
    """
    staging_dir = job.output_dir.parent
    job_path, tmp_dir = staging_dir / "job.json", staging_dir / "tmp"
    job_path.write_text(job.to_json(), encoding="utf-8")
    tmp_dir.mkdir()
    command = [sys.executable, "-m", "ovrecipe.build.worker", stage.run.__module__, str(job_path)]
    with (
        (staging_dir / LOG_NAME).open("wb") as log,
        _started(command, {**env, "TMPDIR": str(tmp_dir)}, log) as process,
    ):
        listener = _Listener(process, title, watch, staging_dir)
        last = listener.until_end(cancelled)
    if last is not None and last["event"] == "done" and process.returncode == 0:
        return last
    raise failure(title, process.returncode, last, listener.seen, staging_dir / LOG_NAME)


@contextmanager
def _started(
    command: list[str], env: Mapping[str, str], log: Any
) -> Iterator[subprocess.Popen[bytes]]:
    own_group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**env, "PYTHONUNBUFFERED": "1"},
        **own_group,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group; what a finished process started ends too."""
    _signal_group(process, "SIGTERM")
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _signal_group(process, "SIGKILL")
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _signal_group(process: subprocess.Popen[bytes], name: str) -> None:
    if sys.platform == "win32":
        _kill_tree(process.pid)
        return
    # The group may be gone already, which is what was wanted.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, getattr(signal, name))


def _kill_tree(pid: int) -> None:
    """End a process and what it started, where there are no process groups to signal."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


class _Listener:
    """Listens to a worker's events and looks at its memory and its disk until it ends."""

    def __init__(
        self, process: subprocess.Popen[bytes], title: str, watch: Watch, staging_dir: Path
    ) -> None:
        self.seen = Seen()
        self._process = process
        self._title = title
        self._watch = watch
        self._staging_dir = staging_dir
        self._oom_kills = oom_kills()
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        self._look()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A process that is killed may leave half a line behind, which is no event.
            with suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def until_end(self, cancelled: Callable[[], bool]) -> Mapping[str, Any] | None:
        """Return the event that said how it ended, or None when there was none.

        Raises:
            KeyboardInterrupt: the build is to end.
        """
        last: Mapping[str, Any] | None = None
        for event in self._until_gone(cancelled):
            if event["event"] == "progress":
                fields = (event[name] for name in ("message", "done", "total", "unit"))
                self._watch(Progressed(self._title, *fields))
            else:
                last = event
        self._process.wait()
        self.seen.killed_for_memory = oom_kills() > self._oom_kills
        return last

    def _until_gone(self, cancelled: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
        """Yield events until the stream ends, or the process has ended and said all it had to.

        What the process has started may hold the stream open after it.
        """
        while True:
            # doit's threads outlive a main thread that Ctrl-C has ended; they must not go on.
            if cancelled() or not threading.main_thread().is_alive():
                raise KeyboardInterrupt
            self._look()
            has_ended = self._process.poll() is not None
            try:
                event = self._events.get(timeout=TICK)
            except queue.Empty:
                if has_ended:
                    return
                continue
            if event is None:
                return
            yield event

    def _look(self) -> None:
        import psutil

        # The process may be gone; then the last look stands.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            size_bytes = int(psutil.Process(self._process.pid).memory_info().rss)
            if size_bytes:
                self.seen.available_bytes = memory_available_bytes()
            if size_bytes > self.seen.peak_bytes:
                self.seen.peak_bytes = size_bytes
                self._watch(MemorySeen(self._title, size_bytes))
        room = free_bytes(self._staging_dir)
        self.seen.least_room_bytes = min(room, self.seen.least_room_bytes or room)


def failure(
    title: str, code: int, last: Mapping[str, Any] | None, seen: Seen, log_path: Path
) -> OvrecipeError:
    """Return the error of a process that did not do its work."""
    if last is not None and last["event"] == "error":
        kind: type[OvrecipeError] = getattr(errors, last["kind"], StageError)
        found = kind(f"{title}: {last['message']}", remedy=last["remedy"])
    elif -code in FROM_OUTSIDE:
        return _killed(title, -code, seen)
    else:
        ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
        about = f" ({seen.said()})" if seen.said() else ""
        found = StageError(f"{title}: its process ended with {ended}{about}:\n{_tail(log_path)}")
    room = seen.least_room_bytes
    if FULL.search(found.message) or (room is not None and room < FULL_BYTES):
        return _full(found, room)
    return found


def _killed(title: str, signal_number: int, seen: Seen) -> StageKilled:
    reason, remedy = "", "build again: finished stages are kept"
    low = seen.available_bytes is not None and seen.available_bytes < LOW_BYTES
    if signal_number == KILLED and (seen.killed_for_memory or low):
        reason = (
            " for lack of memory" if seen.killed_for_memory else ", probably for lack of memory"
        )
        remedy = f"close other programs or take a machine with more memory, then {remedy}"
    about = f"; {seen.said()}" if seen.said() else ""
    return StageKilled(
        f"{title}: its process was killed from outside (signal {signal_number}){reason}{about}",
        remedy=remedy,
    )


def _full(found: OvrecipeError, room_bytes: int | None) -> DiskFull:
    room = "" if room_bytes is None else f" (the least room that was seen is {amount(room_bytes)})"
    full = DiskFull(
        f"{found.message}\nthe disk is full{room}",
        remedy="make room ('ovrecipe gc' removes what no view needs), then build again:\n"
        "finished stages are kept",
    )
    full.__cause__ = found
    return full


def _tail(log_path: Path, lines: int = 12) -> str:
    text = log_path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:])
