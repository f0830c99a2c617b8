"""A stage's process, seen from outside: start it, listen to it, end it with all it started."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ovrecipe import errors
from ovrecipe.build.job import Job, write_job
from ovrecipe.errors import OvrecipeError, StageError, StageKilled
from ovrecipe.store.disk import disk_full, free_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ovrecipe.build.observer import Observer

#: How often memory is sampled and a wish to cancel is looked at, in seconds.
TICK = 0.1
#: How long a process may take to end when asked, in seconds.
GRACE = 5.0
#: The signal that the kernel sends when memory ends; Windows has no name for it.
KILLED = 9
#: With less room than this, a stage that failed is taken to have failed for want of room: what
#: the libraries say of a full disk differs, and the log could not be written either.
FULL_BYTES = 4_000_000


def run_worker(
    job: Job,
    staging_dir: Path,
    title: str,
    observer: Observer,
    *,
    env: Mapping[str, str],
    cancelled: Callable[[], bool],
) -> Mapping[str, Any]:
    """Run the job in a process group of its own and return its last event.

    The process's TMPDIR lies in the staging folder, so that what it leaves behind goes with it.

    Raises:
        OvrecipeError: what the stage raised, as it raised it.
        DiskFull: it failed and the disk has no room left, whatever it said.
        StageKilled: the process was killed from outside.
        StageError: the process ended without a word; the message has the end of its log.
        KeyboardInterrupt: `cancelled` said so; the group is gone.
    """
    job_path, log_path = staging_dir / "job.json", staging_dir / "log.txt"
    write_job(job, job_path)
    (staging_dir / "tmp").mkdir()
    with (
        log_path.open("wb") as log,
        _started(job_path, {**env, "TMPDIR": str(staging_dir / "tmp")}, log) as process,
    ):
        watch = _Watch(process, title, observer)
        last = watch.until_end(cancelled)
    outcome = _outcome(title, process.returncode, last, watch.peak_bytes, log_path)
    if not isinstance(outcome, OvrecipeError):
        return outcome
    if free_bytes(staging_dir) < FULL_BYTES:
        raise disk_full(staging_dir.parent, None) from outcome
    raise outcome


@contextmanager
def _started(job_path: Path, env: Mapping[str, str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ovrecipe.build.worker", str(job_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**env, "PYTHONUNBUFFERED": "1"},
        **_group(),
    )
    try:
        yield process
    finally:
        _end(process)


def _group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


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
    try:
        os.killpg(process.pid, getattr(signal, name))
    except ProcessLookupError:
        return  # the group is gone already, which is what was wanted


def _kill_tree(pid: int) -> None:
    """End a process and what it started, where there are no process groups to signal."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for each in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


class RemoteTraceback(Exception):
    """Where the error arose in the worker; the cause of ours, for `--traceback`."""

    def __str__(self) -> str:
        """Return it below the line that the traceback of this process begins with."""
        return "\n" + "".join(self.args)


class _Watch:
    """Listens to a worker's events and samples its memory until it ends."""

    def __init__(self, process: subprocess.Popen[bytes], title: str, observer: Observer) -> None:
        self.peak_bytes = 0
        self._process = process
        self._title = title
        self._observer = observer
        self._progress = observer.progress(title)
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
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
        memory = _MemorySampler(self._process.pid)
        for event in self._until_gone(cancelled, memory):
            if event["event"] == "progress":
                self._progress(event["message"], done=event["done"], total=event["total"])
            else:
                last = event
        self._process.wait()
        return last

    def _until_gone(
        self, cancelled: Callable[[], bool], memory: _MemorySampler
    ) -> Iterator[Mapping[str, Any]]:
        """Yield events until the stream ends, or the process has ended and said all it had to.

        What the process has started may hold the stream open after it.
        """
        while True:
            # doit's threads outlive a main thread that Ctrl-C has ended; they must not go on.
            if cancelled() or not threading.main_thread().is_alive():
                raise KeyboardInterrupt
            self._note_memory(memory)
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

    def _note_memory(self, memory: _MemorySampler) -> None:
        seen = memory.rss_bytes()
        if seen > self.peak_bytes:
            self.peak_bytes = seen
            self._observer.memory(self._title, seen)


class _MemorySampler:
    """Reads the resident size of a process that may end at any moment."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._gone = (psutil.NoSuchProcess, psutil.AccessDenied)
        self._process: psutil.Process | None = None
        with suppress(*self._gone):
            self._process = psutil.Process(pid)

    def rss_bytes(self) -> int:
        """Return the resident size in bytes, 0 once the process is gone."""
        if self._process is None:
            return 0
        try:
            return int(self._process.memory_info().rss)
        except self._gone:
            return 0


def _outcome(
    title: str, code: int, last: Mapping[str, Any] | None, peak_bytes: int, log_path: Path
) -> Mapping[str, Any] | OvrecipeError:
    """Return the event of a stage that is done, or the error of one that is not."""
    if last is not None and last["event"] == "done" and code == 0:
        return last
    if last is not None and last["event"] == "error":
        kind: type[OvrecipeError] = getattr(errors, last["kind"], StageError)
        error = kind(f"{title}: {last['message']}", remedy=last["remedy"])
        error.__cause__ = RemoteTraceback(last["details"])
        return error
    peak = f"{peak_bytes / 1e9:.2f} GB"
    if code == -KILLED:
        return StageKilled(
            f"{title}: its process was killed, probably for lack of memory; the largest it was "
            f"seen is {peak}",
            remedy="close other programs or take a machine with more memory, then build again: "
            "finished stages are kept",
        )
    return StageError(
        f"{title}: its process ended with {_spoken(code)} (peak memory {peak}):\n" + _tail(log_path)
    )


def _spoken(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _tail(log_path: Path, lines: int = 12) -> str:
    text = log_path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  | {each}" for each in text.splitlines()[-lines:])
