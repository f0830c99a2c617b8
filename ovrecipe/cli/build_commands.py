"""`ovrecipe build`, `why` and `sizes`: making variants, the reasons, and what came of it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from ovrecipe.cli.completion import TargetArgument, complete_name, recipe_argument
from ovrecipe.cli.output import AsJson, print_json, print_table
from ovrecipe.cli.session import session_of, state_of, targets_of
from ovrecipe.ending import STOPPED
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Event, Watch
    from ovrecipe.build.run import Target

WEIGHTS = "openvino_model.bin"


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
        int, Option("--jobs", "-n", min=1, help="Stages at work at once, as far as memory allows.")
    ] = 2,
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

    Examples: 'ovrecipe build smollm2-135m', 'ovrecipe build phi-2:int4 phi-2:int8'.
    """
    from ovrecipe.build.run import try_to_build

    context = session_of(ctx).build_context(force=force, jobs=jobs)
    wanted = targets_of(context, targets)
    for name in dict.fromkeys(target.name for target in wanted) if update else ():
        context.plan(name).resolve(update=True)
    # As Ctrl-C does, so that children, folders and the terminal are put in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with watching(quiet=quiet) as watch:
            report = try_to_build(context, wanted, watch=watch, keep_going=keep_going)
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
        print_json({"variants": rows, "ran": ran, "errors": list(map(str, report.errors))})
    else:
        if not report.ran and not report.errors:
            typer.echo("Nothing to do: everything is built and checked.")
        _print_sizes(rows)
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
    if not any(row["built"] for row in rows):
        stale = ", ".join(row["variant"] for row in rows if row["stale"])
        now = f" from its settings of now (stale: {stale})" if stale else ""
        from ovrecipe.run.artifact import not_built

        raise not_built(name, f"built{now}")
    if as_json:
        print_json({"variants": rows})
    else:
        _print_sizes(rows)


def size_rows(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row of facts for each target; the ratio is to the recipe's fp16 weights."""
    rows = [_size_row(context, target) for target in targets]
    full = {row["name"]: row["weights_bytes"] for row in rows if row.get("precision") == "fp16"}
    for row in rows:
        reference = full.get(row["name"])
        row["ratio"] = reference / row["weights_bytes"] if row["built"] and reference else None
    return rows


def _size_row(context: BuildContext, target: Target) -> dict[str, Any]:
    from ovrecipe.build.run import built_manifests

    plan = context.plan(target.name)
    state = state_of(context, plan, target.variant)
    row = {"name": target.name, "variant": target.variant, **state}
    if not state["built"]:
        return row
    manifest, *parts = built_manifests(context, target)
    weights = next((part for part in parts if WEIGHTS in part.files), None)
    return {
        **row,
        "precision": plan.recipe.variants[target.variant].precision,
        "weights_bytes": manifest.files[WEIGHTS].size_bytes,
        "size_bytes": manifest.size_bytes,
        "seconds": weights.seconds if weights else None,
        "peak_memory_bytes": weights.peak_memory_bytes if weights else None,
        "path": str(context.project.models_dir / target.name / target.variant),
    }


def _print_sizes(rows: Sequence[dict[str, Any]]) -> None:
    headings = ("variant", "weights MB", "smaller", "compressed in", "peak memory")
    print_table(headings, map(_cells, rows), figures=True)
    here = Path.cwd()
    for folder in sorted({Path(row["path"]).parent for row in rows if row["built"]}):
        typer.echo(f"in {folder.relative_to(here) if folder.is_relative_to(here) else folder}/")


def _cells(row: dict[str, Any]) -> list[str]:
    target = f"{row['name']}:{row['variant']}"
    if not row["built"]:
        return [target, "stale" if row["stale"] else "not built", "", "", ""]
    return [
        target,
        f"{row['weights_bytes'] / 1e6:.2f}",
        f"{row['ratio']:.3f}x" if row["ratio"] else "",
        f"{row['seconds']:.1f} s" if row["seconds"] is not None else "",
        amount(row["peak_memory_bytes"]) if row["peak_memory_bytes"] else "",
    ]
