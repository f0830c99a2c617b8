"""`ovrecipe push` and `pull`: built variants between this store and one elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ovrecipe.cli.build_commands import watching
from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import AsJson, print_json
from ovrecipe.cli.session import session_of, targets_of
from ovrecipe.errors import NotBuilt
from ovrecipe.wording import amount, counted

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.execute import ViewWork, Work
    from ovrecipe.build.remote import Remote

Variants = Annotated[
    str,
    recipe_argument(
        "NAME[:VARIANT]", "A variant; a bare NAME is all its variants that are not optional."
    ),
]
Url = Annotated[
    str | None,
    Argument(metavar="[URL]", help="file:///DIR, s3://BUCKET/DIR, ...; else the project's remote."),
]
Inputs = Annotated[
    bool,
    Option("--inputs", help="Also what it was made from: checkpoint, base IR, tokenizer, weights."),
]


def push(
    ctx: typer.Context,
    target: Variants,
    url: Url = None,
    *,
    inputs: Inputs = False,
    as_json: AsJson = False,
) -> None:
    """Send built variants to a store elsewhere: what a view needs, and only what is not there.

    Stopped, it goes on where it was. Exits with 10 when a variant is not built.

    Example: ovrecipe push smollm2-135m:int4 s3://models/ovrecipe
    """
    from ovrecipe.build.taking import give

    context = session_of(ctx).build_context()
    remote, views = _remote(context, url), _views(context, target)
    for view in views:
        if not view.is_up_to_date():
            remedy = f"build it with 'ovrecipe build {view.target}'"
            raise NotBuilt(f"{view.target} is not built from its recipe of now", remedy=remedy)
    rows: list[dict[str, Any]] = []
    with watching(quiet=as_json) as watch:
        for work in _works(views, inputs=inputs):
            if work.is_done():
                sent = give(work, remote, watch)
                rows.append({"stage": work.title, "sent_bytes": sent})
    if as_json:
        print_json({"remote": str(remote), "artifacts": rows})
        return
    for row in rows:
        sent = row["sent_bytes"]
        typer.echo(f"{row['stage']}: {'was there' if sent is None else f'{amount(sent)} sent'}")
    new = sum(row["sent_bytes"] is not None for row in rows)
    typer.echo(f"{counted(new, 'artifact')} sent to {remote}, {len(rows) - new} were there")


def pull(
    ctx: typer.Context,
    target: Variants,
    url: Url = None,
    *,
    inputs: Inputs = False,
    as_json: AsJson = False,
) -> None:
    """Take built variants from a store elsewhere, verified, as if they had been built here.

    They are looked for by their keys, so recipe and package versions must be those that they were
    built with; a folder that runs anywhere is what 'ovrecipe export' writes. Stopped, it goes on
    where it was. Exits with 10 when a variant is not there, with 9 when it is damaged there.

    Example: ovrecipe pull smollm2-135m:int4 s3://models/ovrecipe
    """
    from ovrecipe.build.taking import take

    context = session_of(ctx).build_context()
    remote, views = _remote(context, url), _views(context, target)
    needed = {work.title for view in views for work in view.needs()}
    # As Ctrl-C does, so that folders and the terminal are put in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[dict[str, Any]] = []
    with watching(quiet=as_json) as watch:
        for work in _works(views, inputs=inputs):
            was_here = work.is_up_to_date()
            is_here = take(work, remote, watch)
            if work.title in needed and not is_here:
                raise _not_there(remote, work, target)
            rows.append({"stage": work.title, "here": is_here, "taken": is_here and not was_here})
        for view in views:
            view.do(watch)
    if as_json:
        print_json({"remote": str(remote), "artifacts": rows})
        return
    taken = sum(row["taken"] for row in rows)
    here = sum(row["here"] for row in rows) - taken
    typer.echo(f"{counted(taken, 'artifact')} taken from {remote}, {here} were here")
    for view in views:
        typer.echo(f"models/{view.plan.recipe.name}/{view.variant}")


def _not_there(remote: Remote, work: Work, target: str) -> NotBuilt:
    """Return the error for what nobody has pushed, or what cannot be looked for."""
    from ovrecipe.build.remote import not_there

    error = not_there(remote, f"{work.title} as it would be built here")
    if work.plan.lacks_config():
        message = f"{error.message}, nor the config.json of its checkpoint, which says by which"
        remedy = f"take its checkpoint too: 'ovrecipe pull {target} --inputs'; or push it again"
        return NotBuilt(f"{message} toolchain it was exported", remedy=remedy)
    return error


def _remote(context: BuildContext, url: str | None) -> Remote:
    """Return the store elsewhere that is meant.

    Raises:
        typer.BadParameter: there is none.
    """
    from ovrecipe.build.remote import Remote

    found = context.remote if url is None else Remote(url)
    if found is None:
        ways = "give its URL, or write remote = 'URL' into ovrecipe.toml"
        raise typer.BadParameter(f"there is no remote; {ways}", param_hint="URL")
    return found


def _views(context: BuildContext, target: str) -> list[ViewWork]:
    from ovrecipe.build.execute import ViewWork

    found = targets_of(context, [target])
    return [ViewWork(context.plan(name), variant) for name, variant in found]


def _works(views: Sequence[ViewWork], *, inputs: bool) -> list[Work]:
    """Return the work of what the views need, each once; with `inputs` that of every stage."""
    found = {
        work.title: work
        for view in views
        for work in (view.works(view.plan.stages, (view.variant,)) if inputs else view.needs())
    }
    return list(found.values())
