"""What a build tells whoever watches it, and `Lines`, which writes that to a log or a pipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, TypeAlias

from ovrecipe.wording import amount

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.store.manifest import Manifest


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
class Warned(StageEvent):
    """Something went wrong that does not concern the artifact."""

    text: str


Event: TypeAlias = Planned | StageEvent
#: Is told every event; called from any thread.
Watch: TypeAlias = Callable[[Event], None]


class Lines:
    """A watch that prints one line for each event that matters in a log; for `doit` and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Print the event, if a log wants it."""
        match event:
            case Waiting() | Warned():
                self._say(event, event.text)
            case Started():
                self._say(event, event.doing)
            case LogKept():
                self._say(event, f"log kept at {event.log_path}")
            case Finished():
                self._say(event, summary_of(event.manifest))

    def _say(self, event: StageEvent, text: str) -> None:
        # One call for the whole line: stages speak from several threads.
        self._stream.write(f"   {event.title}: {text}\n")
        self._stream.flush()


def summary_of(manifest: Manifest) -> str:
    """Return size, time and peak memory in a phrase."""
    seconds = f"{manifest.seconds or 0:.1f} s"
    parts = [amount(manifest.size_bytes), seconds] if manifest.files else [seconds]
    if manifest.peak_memory_bytes:
        parts.append(f"peak {manifest.peak_memory_bytes / 1e9:.2f} GB")
    return ", ".join(parts)
