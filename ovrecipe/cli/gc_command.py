"""`ovrecipe gc`: remove from the store what nothing needs."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import OvrecipeError

if TYPE_CHECKING:
    from ovrecipe.store.gc import GcPlan


def command(
    ctx: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    intermediates: Annotated[
        bool,
        typer.Option(
            "--intermediates",
            help="Also remove checkpoints and base IRs of what is built; a new variant of the "
            "same model then has to make them again.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Remove artifacts that neither a named view nor a recipe of this project needs.

    What was built from old settings, stages left by killed builds, caches of removed artifacts
    and logs older than 30 days go; what a running build uses stays. Look first with
    'ovrecipe gc --dry-run'.
    """
    from ovrecipe.build.stages import intermediate_stages
    from ovrecipe.store.gc import collect, plan_gc, viewed
    from ovrecipe.store.store import Store

    session = session_of(ctx)
    store = Store(session.project.store_dir)
    wanted, unplanned = wanted_by_recipes(session)
    dropped = intermediate_stages() if intermediates else ()
    roots = viewed(store, session.project.models_dir) | wanted
    plan = plan_gc(store, roots, drop_stages=dropped)
    done = plan if dry_run else collect(store, plan)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "unplanned": unplanned, **asdict(done)}))
    else:
        _print(done, dry_run=dry_run)


def wanted_by_recipes(session: Session) -> tuple[set[str], list[str]]:
    """Return the keys in the plans of the project's recipes, and the recipes that have none.

    A recipe that cannot be planned now (its checkpoint's disk is away, a plugin is missing)
    blocks no clean-up: what its views lead to is kept without it.
    """
    from ovrecipe.build.context import BuildContext
    from ovrecipe.recipe.project import recipe_names

    context = BuildContext(session.project, plugin_options=session.plugin_options)
    wanted: set[str] = set()
    unplanned = []
    for name in recipe_names(session.project):
        try:
            wanted |= context.plan(name).wanted_keys()
        except OvrecipeError as error:
            unplanned.append(name)
            typer.echo(f"{name}: only what its views lead to is kept: {error.message}", err=True)
    return wanted, unplanned


def _print(plan: GcPlan, *, dry_run: bool) -> None:
    for each in plan.removals:
        typer.echo(f"{each.size_bytes / 1e6:10.1f} MB  {each.kind:9} {each.name}")
    counts = Counter(each.kind for each in plan.removals)
    kinds = (f"{count} {kind}{'s' * (count > 1)}" for kind, count in sorted(counts.items()))
    what = ", ".join(kinds) or "nothing"
    verb = "would be removed" if dry_run else "removed"
    typer.echo(f"{what} {verb}, {plan.freed_bytes / 1e6:.1f} MB freed, {plan.kept} artifacts kept")
