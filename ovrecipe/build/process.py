"""A stage's process, seen from outside: start it, listen to it, end it with all it started."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build.events import MemorySeen, Progressed, Watch
from ovrecipe.build.memory import TICK, memory_available_bytes, oom_kills
from ovrecipe.build.stages.stage import Job
from ovrecipe.errors import OvrecipeError, StageError, StageKilled, disk_full, says_disk_full
from ovrecipe.hooks.roles import RemoteStage
from ovrecipe.processes import heard_error, started
from ovrecipe.store.disk import free_bytes
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from ovrecipe.build.execute import Work

LOG_NAME = "log.txt"
AGAIN = "build again: finished stages are kept"
#: Signals that people, supervisors and, when memory ends, the kernel send; others are crashes.
#: Windows has no names for them.
KILLED, FROM_OUTSIDE = 9, (1, 2, 9, 15)
#: With less memory than this available, a process that was killed was probably killed for it.
LOW_BYTES = 1_000_000_000
#: With less room than this, a stage that failed is taken to have failed for want of room.
FULL_BYTES = 4_000_000


@dataclass
class Seen:
    """What was seen of a process while it was alive; None before the first look."""

    peak_bytes: int = 0
    available_bytes: int | None = None
    least_room_bytes: int | None = None
    killed_for_memory: bool = False

    def note_room(self, free_bytes: int) -> None:
        """Remember the least room: what filled the disk may be gone when it is asked for."""
        least = self.least_room_bytes
        self.least_room_bytes = free_bytes if least is None else min(least, free_bytes)

    def has_grown(self, pid: int) -> bool:
        """Note a process's size, and return whether it is the largest yet."""
        import psutil

        # A process that is gone or ends now has no size; the last look stands.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            size_bytes = int(psutil.Process(pid).memory_info().rss)
            if size_bytes:
                self.available_bytes = memory_available_bytes()
            if size_bytes > self.peak_bytes:
                self.peak_bytes = size_bytes
                return True
        return False

    def __str__(self) -> str:
        facts: list[str] = []
        if self.peak_bytes:
            facts.append(f"the largest it was seen is {amount(self.peak_bytes)}")
        if self.available_bytes is not None:
            facts.append(f"{amount(self.available_bytes)} of memory were available then")
        return " and ".join(facts) or "nothing was seen of its memory"


def run_worker(work: Work, job: Job, watch: Watch, memory_bytes: int) -> Mapping[str, Any]:
    """Run the job in a process group of its own, or on a node, and return its last event.

    The process's TMPDIR lies in the staging folder, so that what it leaves behind goes with it.

    Raises:
        OvrecipeError: what the stage raised, as it raised it.
        DiskFull: it failed and the disk was full, whatever it said.
        StageKilled: the process was ended from outside.
        StageError: the process ended without a word; the message has the end of its log.
        NodeLost: the machine of a cluster on which it ran is gone.
        KeyboardInterrupt: the build was cancelled; the group is gone.
    """
    context, title, staging_dir = work.context, work.title, job.output_dir.parent
    job_path, log_path, tmp_dir = (staging_dir / name for name in ("job.json", LOG_NAME, "tmp"))
    job_path.write_text(job.to_json(), encoding="utf-8")
    tmp_dir.mkdir()
    module = work.stage.run.__module__
    words = ["-m", "ovrecipe.build.worker", module, str(job_path)]
    last: dict[str, Any] = {}

    def hear(event: dict[str, Any]) -> None:
        if event.pop("event") == "progress":
            watch(Progressed(title, **event))
        else:
            last.update(event)

    def cancelled() -> bool:
        # doit's threads outlive a main thread that Ctrl-C has ended; they must not go on.
        return context.cancelled() or not threading.main_thread().is_alive()

    env = {**context.project.env, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_dir)}
    seen = Seen()
    with work.stage.python(work, watch) as python:
        # Only this machine has the environments of toolchains.
        if context.nodes is not None and str(python) == sys.executable:
            stage = RemoteStage(
                title=title,
                words=words,
                env=env,
                log_path=log_path,
                memory_bytes=memory_bytes,
                cancelled=cancelled,
            )
            ended = context.nodes.run_stage(stage, hear)
            code = ended.exit_code
            seen = Seen(ended.peak_bytes, ended.available_bytes, None, ended.killed_for_memory)
        else:

            def grown(size_bytes: int) -> None:
                watch(MemorySeen(title, size_bytes))

            code = run_here([str(python), *words], env, log_path, hear, cancelled, seen, grown)
    if code == 0 and "facts" in last:
        return last
    raise failure(title, code, last, seen, log_path)


def run_here(
    command: Sequence[str],
    env: Mapping[str, str],
    log_path: Path,
    hear: Callable[[dict[str, Any]], None],
    cancelled: Callable[[], bool],
    seen: Seen,
    grown: Callable[[int], None],
) -> int:
    """Run a stage's process on this machine, note what is seen of it, and return its exit code.

    Raises:
        KeyboardInterrupt: the build was cancelled; the group is gone.
    """
    killed_before = oom_kills()
    with (
        log_path.open("wb") as log,
        started(command, env=env, log=log, hear=hear) as process,
    ):
        while process.poll() is None:
            if cancelled():
                raise KeyboardInterrupt
            seen.note_room(free_bytes(log_path.parent))
            if seen.has_grown(process.pid):
                grown(seen.peak_bytes)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TICK)
    seen.killed_for_memory = oom_kills() > killed_before
    return process.returncode


def failure(
    title: str, code: int, last: Mapping[str, Any], seen: Seen, log_path: Path
) -> OvrecipeError:
    """Return the error of a process that did not do its work; `last` is what it said in the end."""
    if "kind" in last:
        found = heard_error(title, last, StageError)
    elif -code in FROM_OUTSIDE:
        return _killed(title, -code, seen)
    else:
        ended = f"exit code {code}" if code >= 0 else f"signal {-code}"
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        tail = "\n  | ".join([":", *lines]) if lines else "; its log is empty"
        during = f" while {plugin} worked" if (plugin := last.get("plugin")) else ""
        remedy = "tell the plugin's maintainers, or use another" if plugin else AGAIN
        message = f"{title}: its process ended with {ended}{during} ({seen}){tail}"
        found = StageError(message, remedy=remedy)
    room = seen.least_room_bytes
    if not says_disk_full(found.message) and (room is None or room >= FULL_BYTES):
        return found
    said = "" if room is None else f" (the least room that was seen is {amount(room)})"
    return disk_full(f"{found.message}\n{title}", said)


def _killed(title: str, signal_number: int, seen: Seen) -> StageKilled:
    reason, remedy = "", AGAIN
    low = seen.available_bytes is not None and seen.available_bytes < LOW_BYTES
    if signal_number == KILLED and (seen.killed_for_memory or low):
        probably = "" if seen.killed_for_memory else ", probably"
        reason = f"{probably} for lack of memory"
        remedy = f"close other programs or take a machine with more memory, then {remedy}"
    return StageKilled(
        f"{title}: its process was killed from outside (signal {signal_number}){reason}; {seen}",
        remedy=remedy,
    )
