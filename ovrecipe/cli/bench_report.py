"""The figures of `ovrecipe bench`: as a table, as JSON, and against their records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from ovrecipe.cli.output import print_json, print_table
from ovrecipe.errors import GateError
from ovrecipe.measure.history import History, Series
from ovrecipe.measure.speed import Change, Figure, Settings, Summary, best_of, changes
from ovrecipe.measure.subject import Subject
from ovrecipe.wording import amount, counted


@dataclass(frozen=True)
class Row:
    """A subject, its figures, and the records before them, the newest first."""

    subject: Subject
    series: Series
    earlier: Sequence[Series]

    @property
    def figures(self) -> dict[Figure, Summary]:
        """The figures of now."""
        return self.series.figures

    @property
    def against_last(self) -> list[Change]:
        """Every figure against the record before this one."""
        return list(changes(self.figures, self.earlier[0].figures)) if self.earlier else []

    @property
    def against_best(self) -> list[Change]:
        """Every figure against the best that it ever was."""
        return list(changes(self.figures, best_of([each.figures for each in self.earlier])))


def row_of(subject: Subject, settings: Settings, history: History) -> Row:
    """Return what the history has of a subject."""
    earlier = history.earlier(subject, settings)
    return Row(subject, history.current(subject, settings), earlier)


def show(
    rows: Sequence[Row], settings: Settings, machine: str, *, compare: bool, as_json: bool
) -> None:
    """Print all of it.

    Raises:
        GateError: `compare`, and a figure is worse than in the last record beyond the spread.
    """
    if as_json:
        print_json(_document(rows, settings, machine, compare=compare))
    else:
        _print_rows(rows)
        if compare:
            _print_changes(rows)
    if compare:
        _check_speed(rows)


def _print_rows(rows: Sequence[Row]) -> None:
    """Print a column for each subject, for people compare along lines."""
    figures = list(dict.fromkeys(figure for row in rows for figure in row.figures))
    table = [
        [figure.heading, *(_cell(figure, row.figures.get(figure)) for row in rows)]
        for figure in figures
    ]
    print_table(("", *(row.subject.title for row in rows)), table, figures=True)
    most, least = (pick(len(row.series.runs) for row in rows) for pick in (max, min))
    runs = counted(most, "run") if most == least else f"{least} to {most} runs"
    typer.echo(f"median ± median absolute deviation of {runs}")


def _cell(figure: Figure, summary: Summary | None) -> str:
    if summary is None:
        return "-"
    spread = f" ±{_value(figure, summary.spread)}" if len(summary.samples) > 1 else ""
    return _value(figure, summary.median) + spread


def _value(figure: Figure, value: float) -> str:
    if figure.name.endswith("_bytes"):
        return amount(value)
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f}"


def _print_changes(rows: Sequence[Row]) -> None:
    """Print what changed beyond the spread, against the last record and the best one."""
    table = [
        _change_cells(row, which, one)
        for row in rows
        for which, found in (("last", row.against_last), ("best", row.against_best))
        for one in found
        # That something is better than the best record says what "the last" says as well.
        if one.verdict and (which == "last" or one.is_worse)
    ]
    typer.echo()
    if table:
        print_table(("", "figure", "against", "was", "is", "", ""), table)
    for row in rows:
        compared = "there is no earlier record"
        if row.earlier:
            last = row.earlier[0]
            versions = ", ".join(f"{name} {version}" for name, version in last.versions.items())
            other = "" if last.artifact == row.subject.artifact else " of another artifact"
            compared = f"the last record{other} is of {last.measured} with {versions}"
        typer.echo(f"{row.subject.title}: {compared}")
    if not table and any(row.earlier for row in rows):
        typer.echo("nothing changed beyond the spread")


def _change_cells(row: Row, which: str, one: Change) -> list[str]:
    cells = [_cell(one.figure, one.before), _cell(one.figure, one.now), f"{one.share:+.0%}"]
    return [row.subject.title, one.figure.heading, f"the {which}", *cells, one.verdict]


def _check_speed(rows: Sequence[Row]) -> None:
    worse = [
        f"{row.subject.title}: {one.figure.heading} {one.share:+.0%}"
        for row in rows
        for one in row.against_last
        if one.is_worse
    ]
    if worse:
        raise GateError(
            "; ".join([f"{counted(len(worse), 'figure')} worse than the last record", *worse]),
            remedy="--again measures anew, in case something else was at work",
        )


def _document(
    rows: Sequence[Row], settings: Settings, machine: str, *, compare: bool
) -> dict[str, Any]:
    """Return all of it as JSON."""
    return {
        "machine": machine,
        "settings": settings.as_json(),
        "spread": "median absolute deviation",
        "rows": [_json_row(row, compare=compare) for row in rows],
    }


def _json_row(row: Row, *, compare: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "target": row.subject.target,
        "device": row.subject.device,
        "engine": row.subject.engine,
        "artifact": row.subject.artifact,
        "versions": dict(row.series.versions),
        "measured": row.series.measured,
        "runs": len(row.series.runs),
        "figures": [
            {**name._asdict(), **summary._asdict()} for name, summary in row.figures.items()
        ],
    }
    if compare:
        found["against_last"] = list(map(_json_change, row.against_last))
        found["against_best"] = list(map(_json_change, row.against_best))
    return found


def _json_change(one: Change) -> dict[str, Any]:
    medians = {"was": one.before.median, "is": one.now.median}
    return {**one.figure._asdict(), **medians, "verdict": one.verdict}
