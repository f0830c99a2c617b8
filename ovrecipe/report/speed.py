"""What `ovrecipe bench` has measured of the variants in a report."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.measure.history import all_runs
from ovrecipe.measure.speed import summary_of
from ovrecipe.report.texts import title

if TYPE_CHECKING:
    from pathlib import Path

#: What a figure is of.
PLACE = ("artifact", "machine", "target", "device", "engine")


def measurements(history_path: Path, artifacts: Collection[object]) -> list[dict[str, Any]]:
    """Return the newest figures of each artifact, by machine, device and engine.

    Each figure, as `ttft_ms@512`, has its `median`, its `spread` (median absolute deviation) and
    the number of `runs`. Empty where nothing was measured yet.

    Raises:
        ProjectError: the history cannot be read, or is of a newer ovrecipe.
    """
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    samples: dict[tuple[str, ...], dict[str, tuple[Any, list[float]]]] = {}
    for run in all_runs(history_path):
        if run.artifact not in artifacts:
            continue
        place = tuple(getattr(run, name) for name in PLACE)
        found.setdefault(place, {**dict(zip(PLACE, place, strict=True)), "measured": run.measured})
        for name, value in run.figures.items():
            repeats = (run.settings, run.versions, run.series)
            newest, values = samples.setdefault(place, {}).setdefault(name, (repeats, []))
            if newest == repeats:
                values.append(value)
    for place, one in found.items():
        one["figures"] = {name: _summary(values) for name, (_, values) in samples[place].items()}
    return list(reversed(found.values()))


def _summary(values: list[float]) -> dict[str, float]:
    summary = summary_of(values)
    return {"median": summary.median, "spread": summary.spread, "runs": len(values)}


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
