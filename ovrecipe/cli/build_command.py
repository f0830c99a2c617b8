"""`ovrecipe build`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import BuildReport


def command(
    ctx: typer.Context,
    targets: Annotated[list[str], typer.Argument(metavar="NAME[:VARIANT]…")],
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-n",
            min=1,
            help="Stages at work at once, as far as memory allows.",
        ),
    ] = 2,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with what does not depend on a failure.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Ask the hub again what a branch points to.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start although memory or disk seem too small.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build variants of recipes: only what is missing, only once, only what passes its gates.

    A bare NAME builds every variant that is not optional.

    Examples: 'ovrecipe build smollm2-135m', 'ovrecipe build phi-2:int4 phi-2:int8'.
    """
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import build
    from ovrecipe.cli.targets import targets_of

    session = session_of(ctx)
    context = BuildContext(
        session.project, plugin_options=session.plugin_options, force=force, jobs=jobs
    )
    wanted = targets_of(context, targets)
    for name in dict.fromkeys(each.name for each in wanted) if update else ():
        context.plan(name).resolve(update=True)
    with _observer() as observer:
        report = build(context, wanted, observer=observer, keep_going=keep_going)
    _print_json(context, report) if as_json else _print_table(context, report)


def _observer() -> Any:
    if not sys.stderr.isatty():
        from ovrecipe.build.observer import LineObserver

        return nullcontext(LineObserver(sys.stderr))
    from rich.console import Console

    from ovrecipe.cli.build_progress import LiveObserver

    return LiveObserver(Console(stderr=True))


def _print_json(context: BuildContext, report: BuildReport) -> None:
    import json

    from ovrecipe.cli.sizes_command import size_rows

    document = {
        "variants": size_rows(context, report.targets),
        "ran": [
            {
                "stage": title,
                "size_bytes": manifest.size_bytes,
                "seconds": manifest.seconds,
                "peak_memory_bytes": manifest.peak_memory_bytes,
            }
            for title, manifest in report.ran
        ],
    }
    print(json.dumps(document, indent=2))


def _print_table(context: BuildContext, report: BuildReport) -> None:
    from ovrecipe.cli.sizes_command import print_sizes, size_rows

    if not report.ran:
        print("Nothing to do: everything is built and checked.")
    print_sizes(size_rows(context, report.targets))
