"""`ovrecipe build`."""

from __future__ import annotations

import signal
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
        bool,
        typer.Option("--force", help="Judge neither memory nor disk before starting."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build variants of recipes: only what is missing, only once, only what passes its gates.

    A bare NAME builds every variant that is not optional.

    Examples: 'ovrecipe build smollm2-135m', 'ovrecipe build phi-2:int4 phi-2:int8'.
    """
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import try_to_build
    from ovrecipe.cli.session import targets_of

    session = session_of(ctx)
    context = BuildContext(
        session.project, plugin_options=session.plugin_options, force=force, jobs=jobs
    )
    wanted = targets_of(context, targets)
    for name in dict.fromkeys(each.name for each in wanted) if update else ():
        context.plan(name).resolve(update=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _watch() as watch:
            report = try_to_build(context, wanted, watch=watch, keep_going=keep_going)
    except KeyboardInterrupt:
        typer.echo("stopped; finished stages are kept, build again to go on", err=True)
        raise
    _print_json(context, report) if as_json else _print_table(context, report)
    report.require_success()


def _interrupt(signum: int, frame: object) -> None:  # noqa: ARG001
    """End as Ctrl-C does, so that children, folders and the terminal are put in order."""
    raise KeyboardInterrupt


def _watch() -> Any:
    if not sys.stderr.isatty():
        from ovrecipe.build.events import Lines

        return nullcontext(Lines(sys.stderr))
    from rich.console import Console

    from ovrecipe.cli.build_progress import Live

    return Live(Console(stderr=True))


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
        "errors": [str(error) for error in report.errors],
    }
    print(json.dumps(document, indent=2))


def _print_table(context: BuildContext, report: BuildReport) -> None:
    from ovrecipe.cli.sizes_command import print_sizes, size_rows

    if not report.ran and not report.errors:
        print("Nothing to do: everything is built and checked.")
    print_sizes(size_rows(context, report.targets))
