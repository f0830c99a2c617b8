"""`ovrecipe report`: sizes, quality, speed, precisions, answers and digests on one page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from ovrecipe.cli.completion import complete_name, recipe_argument
from ovrecipe.cli.output import status, write_text
from ovrecipe.cli.session import session_of
from ovrecipe.cli.size_table import check_any_built, size_rows


class Format(StrEnum):
    """What a report can be written as."""

    HTML = "html"
    MD = "md"
    JSON = "json"


def command(
    ctx: typer.Context,
    name: Annotated[str, recipe_argument("NAME", "A recipe.", complete_name)],
    *,
    form: Annotated[
        Format, Option("--format", "-f", help="A page, Markdown, or one JSON document.")
    ] = Format.HTML,
    output: Annotated[
        Path | None,
        Option("--output", "-o", help="The file; NAME.html, and for the others stdout, if none."),
    ] = None,
) -> None:
    """Write what is known of a recipe's variants: sizes, quality, speed, answers, digests.

    The page is one file that needs no network: look at it in any browser, send it on. Variants
    that a gate refused are in it, with the limits that they exceed. Exits with 10 when none is
    built from the recipe's settings of now.

    Examples: 'ovrecipe report smollm2-135m', 'ovrecipe report smollm2-135m --format md'.
    """
    from ovrecipe.build.run import Target
    from ovrecipe.report import render, svg
    from ovrecipe.report.document import report_of

    if ":" in name:
        raise typer.BadParameter(
            f"a report is of all variants: ovrecipe report {name.partition(':')[0]}"
        )
    if form is Format.HTML:
        svg.check_installed()
    context = session_of(ctx).build_context()
    rows = size_rows(context, [Target(name, one) for one in context.plan(name).recipe.variants])
    check_any_built(name, rows)
    with status("reading the variants"):
        report = report_of(context, name, rows, now=datetime.now(UTC))
        match form:
            case Format.HTML:
                text = render.to_html(report)
            case Format.MD:
                text = render.to_markdown(report)
            case Format.JSON:
                text = json.dumps(report, indent=2) + "\n"
    if output is None and form is Format.HTML:
        output = Path(f"{name}.html")
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        typer.echo(f"wrote {output}", err=True)
