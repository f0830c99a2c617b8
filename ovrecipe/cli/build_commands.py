"""`ovrecipe build`, `why` and `sizes`: making variants, the reasons, and what came of it."""

from __future__ import annotations

import signal
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from ovrecipe.cli.cluster import RayAddress, build_on, connected
from ovrecipe.cli.completion import TargetArgument, complete_name, recipe_argument
from ovrecipe.cli.output import AsJson, announce, print_json
from ovrecipe.cli.session import session_of, targets_of
from ovrecipe.cli.size_table import check_any_built, print_sizes, size_rows
from ovrecipe.ending import STOPPED

if TYPE_CHECKING:
    from ovrecipe.build.events import Event, Watch


#: Stages at work at once on one machine.
JOBS = 2


def build(
    ctx: typer.Context,
    targets: Annotated[
        list[str],
        recipe_argument(
            "NAME[:VARIANT]...",
            "Recipes or variants; a bare NAME means all its variants that are not optional.",
        ),
    ],
    *,
    jobs: Annotated[
        int | None,
        Option(
            *("--jobs", "-n"),
            min=1,
            help="Stages at work at once, as far as memory allows: 2, on a cluster 2 a node.",
            show_default=False,
        ),
    ] = None,
    ray: RayAddress = None,
    keep_going: Annotated[
        bool, Option("--keep-going", help="Go on with what does not depend on a failure.")
    ] = False,
    update: Annotated[
        bool, Option("--update", help="Ask the hub again what a branch points to.")
    ] = False,
    force: Annotated[
        bool, Option("--force", help="Judge neither memory nor disk before starting.")
    ] = False,
    quiet: Annotated[
        bool, Option("--quiet", "-q", help="No progress: only errors and the result.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build variants of recipes: only what is missing, only once, only what passes its gates.

    Exits with 5 for a checkpoint that cannot be had, 6 for what was refused before it began, 7
    for a stage that failed, 8 for a model that failed its gate. Finished stages are kept.

    Examples: 'ovrecipe build smollm2-135m', 'ovrecipe build phi-2:int4 phi-2:int8',
    'ovrecipe build --ray auto smollm2-135m' on a Ray cluster, whose nodes all see the store.
    """
    from ovrecipe.build.run import try_to_build
    from ovrecipe.errors import GateError

    session = session_of(ctx)
    context = session.build_context(force=force, jobs=jobs or JOBS, keep_going=keep_going)
    wanted = targets_of(context, targets)
    for name in dict.fromkeys(target.name for target in wanted) if update else ():
        context.plan(name).resolve(update=True)
    # As Ctrl-C does, so that children, folders and the terminal are put in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            if ray:
                nodes = stack.enter_context(connected(session, ray))
                build_on(nodes, context, jobs=jobs or JOBS * nodes.count)
            watch = stack.enter_context(watching(quiet=quiet))
            report = try_to_build(context, wanted, watch=watch)
    except KeyboardInterrupt:
        typer.echo(STOPPED, err=True)
        raise
    rows = size_rows(context, wanted)
    if as_json:
        figures = ("size_bytes", "seconds", "peak_memory_bytes")
        ran = [
            {"stage": title, **{name: getattr(manifest, name) for name in figures}}
            for title, manifest in report.ran
        ]
        errors = list(map(str, report.errors))
        print_json({"variants": rows, "ran": ran, "taken": report.taken, "errors": errors})
    else:
        if not (report.ran or report.taken or report.errors):
            typer.echo("Nothing to do: everything is built and checked.")
        left = [row for row in rows if not (row["built"] or row["refused"])]
        if len(left) < len(rows) or not report.errors:
            print_sizes(rows)
        own = [error for error in report.errors if not isinstance(error, GateError)]
        if report.errors and not keep_going and len(left) > len(own):
            announce("stopped at the first failure; --keep-going builds what does not depend on it")
    report.check_success()


def watching(*, quiet: bool) -> AbstractContextManager[Watch]:
    """Return who shows the build: moving lines on a terminal, plain ones elsewhere."""
    from ovrecipe.build.events import Lines, LogKept

    lines = Lines(sys.stderr)

    def only_logs(event: Event) -> None:
        if isinstance(event, LogKept):
            lines(event)

    if quiet:
        return nullcontext(only_logs)
    if not sys.stderr.isatty():
        return nullcontext(lines)
    from rich.console import Console

    from ovrecipe.cli.progress import Live

    return Live(Console(stderr=True))


def why(ctx: typer.Context, target: TargetArgument, *, as_json: AsJson = False) -> None:
    """Say which stages would run, and which field of the key differs from what is stored.

    Example: after a change of group_size, 'ovrecipe why phi-2:int4' shows the old and new value.
    """
    from ovrecipe.build.run import reasons

    context = session_of(ctx).build_context()
    rows = reasons(context, targets_of(context, [target]))
    if as_json:
        print_json({"stages": rows})
        return
    for row in rows:
        typer.echo(f"{row['stage']}: {'up to date' if row['up_to_date'] else row['reason']}")
        for change in row["differences"]:
            # The digests of inputs say nothing to anybody.
            kind, _, name = change["field"].partition(".")
            shown = "{field}: {stored} -> {wanted}".format_map(change)
            typer.echo(f"  follows {name}" if kind == "inputs" else f"  {shown}")


def sizes(
    ctx: typer.Context,
    name: Annotated[str, recipe_argument("NAME", "A recipe.", complete_name)],
    *,
    as_json: AsJson = False,
) -> None:
    """Compare the sizes of a recipe's built variants, and what building them took.

    Exits with 10 when none is built from the recipe's settings of now.

    Example: ovrecipe sizes smollm2-135m
    """
    from ovrecipe.build.run import Target

    context = session_of(ctx).build_context()
    recipe = context.plan(name).recipe
    rows = size_rows(context, [Target(name, variant) for variant in recipe.variants])
    check_any_built(name, rows)
    if as_json:
        print_json({"variants": rows})
    else:
        print_sizes(rows)
