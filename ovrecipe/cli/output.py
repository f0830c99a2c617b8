"""How commands print and write: one JSON document, a table, a file; the options they share."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.errors import ProjectError

if TYPE_CHECKING:
    from rich.status import Status

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
]


def announce(message: str) -> None:
    """Say something that is no result."""
    typer.echo(f"ovrecipe: {message}", err=True)


def status(text: str) -> Status:
    """Return what shows on a terminal that something is at work; pipes see nothing of it."""
    from rich.console import Console

    return Console(stderr=True, force_terminal=sys.stderr.isatty()).status(text)


def print_json(document: Any) -> None:
    """Print one document on standard output, as people and programs read it."""
    typer.echo(json.dumps(document, indent=2))


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    figures: bool = False,
    left: Collection[int] = (0,),
    folded: Collection[int] | None = None,
) -> None:
    """Print a table without lines; with `figures` all columns but those `left` are numbers.

    On a narrow terminal columns of figures are broken into lines, all but the first, or those that
    are to be `folded`.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False)
    for number, column in enumerate(table.columns if figures else ()):
        column.justify = "left" if number in left else "right"
        column.no_wrap = number == 0 if folded is None else number not in folded
    for row in rows:
        table.add_row(*row)
    Console(markup=False).print(table)


def write_text(path: Path, text: str, *, parents: bool = True) -> None:
    """Write a file of the user's project, in UTF-8 with plain line ends.

    Raises:
        ProjectError: the disk or a folder refuses.
    """
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror}") from error
