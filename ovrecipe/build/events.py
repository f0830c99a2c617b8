"""What a build tells whoever watches it: one dataclass for each thing that happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

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
