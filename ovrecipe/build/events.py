"""What a build tells whoever watches it, and `Lines`, which writes that to a log or a pipe."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TextIO, TypeAlias

from ovrecipe.store.manifest import Manifest
from ovrecipe.wording import amount


@dataclass(frozen=True)
class Planned:
    """The build begins; these stages are not built yet, in the order of the route."""

    titles: tuple[str, ...]


@dataclass(frozen=True)
class StageEvent:
    """Something happened to one stage; `title` is `weights smollm2-135m:int4`."""

    title: str


@dataclass(frozen=True)
class Waiting(StageEvent):
    """Another build is making this artifact, or memory has no room for it yet."""

    text: str


@dataclass(frozen=True)
class Started(StageEvent):
    """The stage starts; `doing` says what it does."""

    doing: str


@dataclass(frozen=True)
class Progressed(StageEvent):
    """How far the stage is: `done` of `total`, counted in `unit` ("B" is bytes)."""

    message: str
    done: float | None = None
    total: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class MemorySeen(StageEvent):
    """The stage's process has been seen this large."""

    peak_bytes: int


@dataclass(frozen=True)
class LogKept(StageEvent):
    """The stage failed and its log stays."""

    log_path: Path


@dataclass(frozen=True)
class Failed(StageEvent):
    """The stage failed, whether or not it left a log."""


@dataclass(frozen=True)
class Finished(StageEvent):
    """The stage's artifact is published."""

    manifest: Manifest


@dataclass(frozen=True)
class Taken(StageEvent):
    """The stage's artifact came from a store elsewhere, `where`, and was not built."""

    manifest: Manifest
    where: str


@dataclass(frozen=True)
class Ended(StageEvent):
    """The work is over, and what came of it is said elsewhere."""


@dataclass(frozen=True)
class Noted(StageEvent):
    """Something about the stage that is worth knowing."""

    text: str


@dataclass(frozen=True)
class Warned(StageEvent):
    """Something went wrong that does not concern the artifact."""

    text: str


Event: TypeAlias = Planned | StageEvent
#: Is told every event; called from any thread.
Watch: TypeAlias = Callable[[Event], None]


def summary_of(manifest: Manifest) -> str:
    """Return size, time and peak memory in a phrase."""
    peak_bytes = manifest.peak_memory_bytes
    size = [amount(manifest.size_bytes)] if manifest.files else []
    peak = [f"peak {amount(peak_bytes)}"] if peak_bytes else []
    return ", ".join([*size, f"{manifest.seconds or 0:.1f} s", *peak])


def outcome_of(event: Finished | Taken) -> str:
    """Return what came of a stage in a phrase: how it was made, or where it came from."""
    if isinstance(event, Finished):
        return summary_of(event.manifest)
    size = [amount(event.manifest.size_bytes)] if event.manifest.files else []
    return ", ".join([*size, f"taken from {event.where}"])


#: The time over which a speed is taken; and the longest time left that is a help, as a guess.
PACE_SECONDS, SECONDS_SHOWN = 10.0, 24 * 3600.0


@dataclass
class AtWork:
    """A stage at work, as its events tell; `started` and `now` are the watcher's clock."""

    title: str
    message: str
    started: float
    done: float | None = None
    total: float | None = None
    unit: str = ""
    peak_bytes: int = 0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    def progressed(self, event: Progressed, now: float) -> None:
        """Take in how far the stage is."""
        if event.message != self.message or (event.done or 0) < (self.done or 0):
            self._seen.clear()
        self.message, self.unit = event.message, event.unit
        self.done, self.total = event.done, event.total
        if event.done is not None:
            self._seen.append((now, event.done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - PACE_SECONDS:
            self._seen.popleft()

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None where the end is not known."""
        if self.done is None or not self.total:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)

    def bytes_per_second(self, now: float) -> float | None:
        """Return the speed of the last seconds; None where no bytes are counted."""
        if self.unit != "B" or self.done is None or not self._seen:
            return None
        since, before = self._seen[0]
        return (self.done - before) / (now - since) if now > since else None

    def seconds_left(self, now: float) -> float | None:
        """Return the time that is left at this speed; None where it is not known, or for days."""
        speed = self.bytes_per_second(now)
        if not speed or self.done is None or self.total is None:
            return None
        left = max(self.total - self.done, 0.0) / speed
        return left if left < SECONDS_SHOWN else None


def follow(at_work: dict[str, AtWork], event: Event, now: float) -> None:
    """Keep the stages at work, by title, up to what happened."""
    match event:
        case Started(title, doing):
            at_work[title] = AtWork(title, doing, now)
        case Progressed(title) if title in at_work:
            at_work[title].progressed(event, now)
        case MemorySeen(title, peak_bytes) if title in at_work:
            at_work[title].peak_bytes = peak_bytes
        case LogKept(title) | Failed(title) | Finished(title) | Taken(title) | Ended(title):
            at_work.pop(title, None)


HEARTBEAT_SECONDS = 30.0


def start_timer(seconds: float, action: Callable[[], None]) -> threading.Timer:
    """Call `action` once, that many seconds from now, from a thread that keeps nobody alive."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer


@dataclass(eq=False)
class Lines:
    """Writes a line for each event that matters, and now and then that a stage is at work."""

    stream: TextIO
    _: KW_ONLY
    clock: Callable[[], float] = time.monotonic
    timer: Callable[[float, Callable[[], None]], threading.Timer] = start_timer
    _at_work: dict[str, AtWork] = field(default_factory=dict)
    _timers: dict[str, threading.Timer] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Event) -> None:
        """Write what happened, if it matters in a log."""
        with self._lock:
            follow(self._at_work, event, self.clock())
            match event:
                case Started(title, text):
                    self._say(title, text)
                    self._expect_beat(title)
                case Waiting(title, text) | Noted(title, text) | Warned(title, text):
                    self._say(title, text)
                case LogKept(title, log_path):
                    self._say(title, f"log kept at {log_path}")
                case Finished(title) | Taken(title):
                    self._say(title, outcome_of(event))
            for title in self._timers.keys() - self._at_work.keys():
                self._timers.pop(title).cancel()

    def _say(self, title: str, text: str) -> None:
        self.stream.write(f"   {title}: {text}\n")
        self.stream.flush()

    def _expect_beat(self, title: str) -> None:
        self._timers[title] = self.timer(HEARTBEAT_SECONDS, lambda: self._beat(title))

    def _beat(self, title: str) -> None:
        """Say that the stage goes on, unless it ended a moment ago."""
        with self._lock:
            work = self._at_work.get(title)
            if work is None:
                return
            share = "" if work.share is None else f", {work.share:.0%}"
            self._say(title, f"{self.clock() - work.started:.0f} s, {work.message}{share}")
            self._expect_beat(title)
