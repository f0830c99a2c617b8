"""Who is told how a build goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TextIO

from ovrecipe.build.events import summary_of

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.store.manifest import Manifest
    from ovrecipe.types import Progress


class Observer(Protocol):
    """Told of every stage that really runs; called from any thread."""

    def waiting(self, title: str, text: str) -> None:
        """Another build is making this artifact."""

    def started(self, title: str, doing: str) -> None:
        """A stage starts."""

    def progress(self, title: str) -> Progress:
        """Return where the stage reports how far it is."""

    def memory(self, title: str, peak_bytes: int) -> None:
        """The stage's process has been seen this large."""

    def log_kept(self, title: str, log_path: Path) -> None:
        """The stage failed and its log stays."""

    def finished(self, title: str, manifest: Manifest) -> None:
        """The stage's artifact is published."""

    def warned(self, title: str, text: str) -> None:
        """Something went wrong that does not concern the artifact."""


class LineObserver:
    """One line for each event that matters in a log; for `doit` and for pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _say(self, title: str, text: str) -> None:
        # One call for the whole line: stages speak from several threads.
        self._stream.write(f"   {title}: {text}\n")
        self._stream.flush()

    def waiting(self, title: str, text: str) -> None:
        """Say that another build is at it."""
        self._say(title, text)

    def started(self, title: str, doing: str) -> None:
        """Say what is being done."""
        self._say(title, doing)

    def progress(self, title: str) -> Progress:  # noqa: ARG002
        """Return a progress that says nothing: lines would be too many."""

        def quiet(
            message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
        ) -> None:
            """Drop it."""

        return quiet

    def memory(self, title: str, peak_bytes: int) -> None:
        """Say nothing; the last line has the peak."""

    def log_kept(self, title: str, log_path: Path) -> None:
        """Say where the log is."""
        self._say(title, f"log kept at {log_path}")

    def finished(self, title: str, manifest: Manifest) -> None:
        """Say what it took."""
        self._say(title, summary_of(manifest))

    def warned(self, title: str, text: str) -> None:
        """Say it."""
        self._say(title, text)
