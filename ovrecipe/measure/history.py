"""What was measured when, on which machine: one SQLite file, a row for each run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ovrecipe.errors import ProjectError
from ovrecipe.measure.speed import Figure, Settings, Summary, summaries
from ovrecipe.measure.subject import Subject
from ovrecipe.store.store import utc_now

SCHEMA = 1
TABLE = """CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, measured TEXT NOT NULL, machine TEXT NOT NULL, target TEXT NOT NULL,
    device TEXT NOT NULL, engine TEXT NOT NULL, settings TEXT NOT NULL, artifact TEXT NOT NULL,
    versions TEXT NOT NULL, series INTEGER NOT NULL, figures TEXT NOT NULL
) STRICT"""


@dataclass(frozen=True)
class Series:
    """Runs that are repeats of each other: one artifact, one set of versions."""

    number: int
    artifact: str
    versions: Mapping[str, str | None]
    measured: str
    runs: Sequence[Mapping[str, float]]

    @property
    def figures(self) -> dict[Figure, Summary]:
        """The summary of each figure."""
        return summaries(self.runs)


class History:
    """The runs of one machine in the file; made by `opened`."""

    def __init__(
        self, database: sqlite3.Connection, machine: str, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._machine = machine
        self._clock = clock

    def current(self, subject: Subject, settings: Settings) -> Series:
        """Return the newest series of this very artifact with these versions; it may be empty."""
        for series in self._series(subject, settings):
            if _is_of(series, subject):
                return series
        return Series(1, subject.artifact, subject.versions, "", ())

    def earlier(self, subject: Subject, settings: Settings) -> list[Series]:
        """Return all other series of the target that were measured alike, the newest first."""
        current = self.current(subject, settings)
        return [
            series
            for series in self._series(subject, settings)
            if not _is_of(series, subject) or series.number != current.number
        ]

    def add(
        self, subject: Subject, settings: Settings, number: int, figures: Mapping[str, float]
    ) -> None:
        """Keep a run in the series of that number; once this returns, it is on the disk."""
        row = {
            "measured": self._clock().isoformat(timespec="seconds"),
            **self._asked(subject, settings),
            "artifact": subject.artifact,
            "versions": _text(subject.versions),
            "series": number,
            "figures": json.dumps(figures),
        }
        names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
        with self._database:
            self._database.execute(f"INSERT INTO runs ({names}) VALUES ({places})", row)  # noqa: S608 - our own names

    def _asked(self, subject: Subject, settings: Settings) -> dict[str, Any]:
        """Return what runs have in common that may be compared."""
        return {
            "machine": self._machine,
            "target": subject.target,
            "device": subject.device,
            "engine": subject.engine,
            "settings": _text(settings.as_json()),
        }

    def _series(self, subject: Subject, settings: Settings) -> list[Series]:
        """Return the series that may be compared, the newest first."""
        rows = self._database.execute(
            "SELECT series, artifact, versions, measured, figures FROM runs"
            " WHERE machine = :machine AND target = :target AND device = :device"
            " AND engine = :engine AND settings = :settings ORDER BY id DESC",
            self._asked(subject, settings),
        ).fetchall()
        found: dict[tuple[int, str, str], list[tuple[str, str]]] = {}
        for number, artifact, versions, measured, figures in rows:
            found.setdefault((number, artifact, versions), []).append((measured, figures))
        return [
            Series(
                number,
                artifact,
                json.loads(versions),
                runs[0][0],
                [json.loads(figures) for _, figures in reversed(runs)],
            )
            for (number, artifact, versions), runs in found.items()
        ]


def _is_of(series: Series, subject: Subject) -> bool:
    return (series.artifact, series.versions) == (subject.artifact, dict(subject.versions))


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True)


class Run(NamedTuple):
    """A run of any machine; runs that are alike up to `series` are repeats of each other."""

    artifact: str
    machine: str
    target: str
    device: str
    engine: str
    settings: str
    versions: str
    series: int
    measured: str
    figures: Mapping[str, float]


def all_runs(path: Path) -> Iterator[Run]:
    """Yield the runs in a history, the newest first; none where there is no file.

    Raises:
        ProjectError: the file cannot be read, is no history, or is of a newer ovrecipe.
    """
    if not path.is_file():
        return
    with _connected(path, f"{path.resolve().as_uri()}?mode=ro", "read") as database:
        # Run._fields are columns of ours.
        rows = database.execute(f"SELECT {', '.join(Run._fields)} FROM runs ORDER BY id DESC")  # noqa: S608
        for *known, figures in rows:
            yield Run._make((*known, json.loads(figures)))


@contextmanager
def opened(
    path: Path, machine: str, *, clock: Callable[[], datetime] = utc_now
) -> Iterator[History]:
    """Open the history of a machine, made if it is missing.

    Raises:
        ProjectError: the file cannot be written, is no database, or is of a newer ovrecipe.
    """
    with _connected(path, path.resolve().as_uri(), "used") as database:
        with database:
            database.execute(TABLE)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
        yield History(database, machine, clock)


@contextmanager
def _connected(path: Path, uri: str, what: str) -> Iterator[sqlite3.Connection]:
    """Connect to a file that is not of a newer ovrecipe; `what` cannot be done when it fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(uri, uri=True)) as database:
            [version] = database.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                message = f"{path}: was written by a newer ovrecipe"
                raise ProjectError(message, remedy="upgrade ovrecipe")
            yield database
    except (sqlite3.Error, OSError) as error:
        raise ProjectError(
            f"{path}: the history of measurements cannot be {what}: {error}",
            remedy="another file can be named with OVRECIPE_HISTORY",
        ) from error
