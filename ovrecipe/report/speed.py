"""What `ovrecipe bench` has measured of the variants in a report."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from statistics import median
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import ProjectError
from ovrecipe.report.texts import title

if TYPE_CHECKING:
    from pathlib import Path

#: The newest form of the history that is understood here.
SCHEMA = 1
#: A row is a run; runs with the same last three columns are repeats of each other.
QUERY = (
    "SELECT artifact, machine, target, device, engine, measured, figures, settings, versions,"
    " series FROM runs ORDER BY id DESC"
)


def measurements(history_path: Path, artifacts: Collection[object]) -> list[dict[str, Any]]:
    """Return the newest figures of each artifact, by machine, device and engine.

    Each figure, as `ttft_ms@512`, has its `median`, its `spread` (median absolute deviation) and
    the number of `runs`. Empty where nothing was measured yet.

    Raises:
        ProjectError: the history cannot be read, or is of a newer ovrecipe.
    """
    if not history_path.is_file():
        return []
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    samples: dict[tuple[str, ...], dict[str, tuple[Any, list[float]]]] = {}
    for row in _rows(history_path):
        *subject, measured, figures, settings, versions, series = row
        if subject[0] not in artifacts:
            continue
        place = tuple(subject)
        names = ("artifact", "machine", "target", "device", "engine")
        found.setdefault(place, {**dict(zip(names, subject, strict=True)), "measured": measured})
        for name, value in json.loads(figures).items():
            repeats = (settings, versions, series)
            newest, values = samples.setdefault(place, {}).setdefault(name, (repeats, []))
            if newest == repeats:
                values.append(value)
    for place, one in found.items():
        one["figures"] = {name: _summary(values) for name, (_, values) in samples[place].items()}
    return list(reversed(found.values()))


def _rows(history_path: Path) -> Iterator[tuple[Any, ...]]:
    """Yield the runs, the newest first."""
    try:
        with closing(
            sqlite3.connect(f"{history_path.resolve().as_uri()}?mode=ro", uri=True)
        ) as data:
            [version] = data.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                message = f"{history_path}: was written by a newer ovrecipe"
                raise ProjectError(message, remedy="upgrade ovrecipe")
            yield from data.execute(QUERY)
    except sqlite3.Error as error:
        message = f"{history_path}: the history of measurements cannot be read: {error}"
        raise ProjectError(message, remedy="remove it, and measure anew") from error


def _summary(values: list[float]) -> dict[str, float]:
    middle = median(values)
    spread = median(abs(value - middle) for value in values)
    return {"median": middle, "spread": spread, "runs": len(values)}


def line_of(speed: Iterable[Mapping[str, Any]], figure: str) -> dict[str, list[tuple[int, float]]]:
    """Return a figure's medians over `at`, for each that was measured at more than one."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for one in speed:
        named = [key.partition("@") for key in one["figures"]]
        places = [
            (int(at), one["figures"][f"{name}@{at}"]["median"])
            for name, _, at in named
            if name == figure and at
        ]
        if len(places) > 1:
            lines[title(one)] = sorted(places)
    return lines
