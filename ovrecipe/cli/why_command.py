"""`ovrecipe why`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ovrecipe.cli.session import session_of


def command(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(metavar="NAME[:VARIANT]")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the reasons as JSON.")] = False,
) -> None:
    """Say which stages would run, and which field of the key differs from what is stored.

    Example: after a change of group_size, 'ovrecipe why phi-2:int4' shows the old and new value.
    """
    import json

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import reasons
    from ovrecipe.cli.session import targets_of

    session = session_of(ctx)
    context = BuildContext(session.project, plugin_options=session.plugin_options)
    rows = reasons(context, targets_of(context, [target]))
    print(json.dumps({"stages": rows}, indent=2)) if as_json else _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        state = "up to date" if row["up_to_date"] else row["reason"]
        print(f"{row['stage']}: {state}")
        for each in row["differences"]:
            print(f"  {_spoken(each)}")


def _spoken(difference: dict[str, Any]) -> str:
    """Return a difference as a person reads it; the digests of inputs say nothing to anybody."""
    kind, _, name = difference["field"].partition(".")
    if kind == "inputs":
        return f"follows {name}"
    return f"{difference['field']}: {difference['stored']} -> {difference['wanted']}"
