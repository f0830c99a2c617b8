"""A stage's process on a node: a task that starts it, and whoever waits for that here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError, TaskCancelledError

from ovrecipe.errors import NodeLost, StageError, StageKilled, StoreError
from ovrecipe.hooks.roles import RemoteStage, StageEnded
from ovrecipe.wording import one_line

#: How often a process, and a wish to cancel, are looked at, in seconds.
TICK = 0.2
#: How long a cancelled process may take to be gone, in seconds.
GRACE = 12.0
#: What of the environment goes along; the rest is the node's own.
ALONG = ("OVRECIPE_", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "PYTHONUNBUFFERED", "TMPDIR")
COMMON = "put the store on a file system that all nodes have under one path: OVRECIPE_STORE"
SAME = "ovrecipe and ovrecipe-ray, the same versions, must be installed on every node"


def carried(
    words: Sequence[str], env: Mapping[str, str], log_path: str
) -> Iterator[dict[str, Any]]:
    """Run a stage's process on this node; yield what it says, then how it ended.

    What is yielded last is `{"ended": ...}`, with the node's name where it does not see the store.
    """
    from ovrecipe.build.memory import oom_kills
    from ovrecipe.build.process import Seen
    from ovrecipe.processes import started

    # Ray cancels a task by Ctrl-C, which what a shell has started in the background ignores.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    log = Path(log_path)
    if not log.parent.is_dir():
        yield {"ended": None, "node": os.uname().nodename}
        return
    own = {**os.environ, **env}
    if "OMP_NUM_THREADS" not in env:
        own.pop("OMP_NUM_THREADS", None)  # Ray's, for a task of one processor
    said: SimpleQueue[dict[str, Any]] = SimpleQueue()
    seen, killed_before = Seen(), oom_kills()
    with (
        log.open("wb") as stream,
        started([sys.executable, *words], env=own, log=stream, hear=said.put) as process,
    ):
        while process.poll() is None:
            seen.has_grown(process.pid)
            with suppress(Empty):
                yield said.get(timeout=TICK)
        with suppress(subprocess.TimeoutExpired):
            process.wait(TICK)
    # The reader has ended: all it said is in the queue.
    with suppress(Empty):
        while True:
            yield said.get_nowait()
    ended = StageEnded(
        process.returncode, seen.peak_bytes, seen.available_bytes, oom_kills() > killed_before
    )
    yield {"ended": ended}


def run_stage(stage: RemoteStage, hear: Callable[[dict[str, Any]], None]) -> StageEnded:
    """Run a stage's process where its memory fits; see `ovrecipe.hooks.roles.Nodes`.

    Raises:
        NodeLost: the node is gone, and the process with it.
        StageKilled: Ray ended it, because the node's memory was full.
        StoreError: the node does not see the store.
        KeyboardInterrupt: the build was cancelled; the process is gone.
    """
    env = {name: text for name, text in stage.env.items() if name.startswith(ALONG)}
    # Without an estimate a stage is light.
    memory = {"memory": stage.memory_bytes or None}
    options = {"num_cpus": 1, "max_retries": 0, "num_returns": "streaming", "name": stage.title}
    task: Any = ray.remote(carried)
    events = task.options(**options, **memory).remote(stage.words, env, str(stage.log_path))
    try:
        event = _heard(events, stage.cancelled, hear)
    except KeyboardInterrupt:
        _cancel(events)
        raise
    except OutOfMemoryError as error:
        raise StageKilled(
            f"{stage.title}: Ray ended it, for the memory of its node was full",
            remedy="a node with more memory, or less beside it",
        ) from error
    except RayTaskError as error:
        # A defect, or a node without ovrecipe-ray.
        what = f"{stage.title}: the node cannot run it: {one_line(error.cause)}"
        raise StageError(what, remedy=SAME) from error
    except RayError as error:
        # What follows the first sentence are Ray's own commands, for its dashboard.
        what = one_line(error).partition(". ")[0]
        raise NodeLost(f"{stage.title}: its node is gone: {what}") from error
    if "node" in event:
        message = f"{stage.title}: {event['node']} does not see {stage.log_path.parent}"
        raise StoreError(message, remedy=COMMON)
    ended: StageEnded = event["ended"]
    return ended


def _heard(
    events: Any, cancelled: Callable[[], bool], hear: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Tell what a task yields as it comes, and return what it yields last.

    Raises:
        KeyboardInterrupt: the build was cancelled.
        RayError: the task failed, or its node.
    """
    while True:
        ready, _ = ray.wait([events], timeout=TICK)
        if cancelled():
            raise KeyboardInterrupt
        if not ready:
            continue
        event: dict[str, Any] = ray.get(next(events))
        if "ended" in event:
            return event
        hear(event)


def _cancel(events: Any) -> None:
    """End a task, and wait until its process is gone."""
    ray.cancel(events)
    with suppress(RayError, StopIteration, TaskCancelledError):
        while ray.wait([events], timeout=GRACE)[0]:
            ray.get(next(events))


def sees(path: str) -> bool:
    """Return whether a file is on this node."""
    return Path(path).is_file()
