"""How commands print: one JSON document, or a table; and the options that all of them share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
]


def print_json(document: Any) -> None:
    """Print one document on standard output, as people and programs read it."""
    typer.echo(json.dumps(document, indent=2))


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = False
) -> None:
    """Print a table without lines; with `figures` all columns but the first are numbers."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        first = number == 0
        justify: Any = "right" if figures and not first else "left"
        table.add_column(heading, justify=justify, no_wrap=figures and first)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
