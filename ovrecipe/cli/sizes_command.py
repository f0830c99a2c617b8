"""`ovrecipe sizes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.session import session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target
    from ovrecipe.store.manifest import Manifest

WEIGHTS = "openvino_model.bin"


def command(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the sizes as JSON.")] = False,
) -> None:
    """Compare the sizes of a recipe's built variants, and what building them took.

    Example: 'ovrecipe sizes smollm2-135m'.
    """
    import json

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target
    from ovrecipe.errors import NotBuilt

    session = session_of(ctx)
    recipe = session.recipe(name)
    context = BuildContext(session.project, plugin_options=session.plugin_options)
    rows = size_rows(context, [Target(recipe.name, each) for each in recipe.variants])
    if not any(each["built"] for each in rows):
        raise NotBuilt(f"no variant of {name} is built", remedy=f"ovrecipe build {name}")
    print(json.dumps({"variants": rows}, indent=2)) if as_json else print_sizes(rows)


def size_rows(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row of facts for each target; the ratio is to the recipe's fp16 weights."""
    from ovrecipe.build.execute import ViewWork

    rows = []
    for each in targets:
        work = ViewWork(context, context.plan(each.name), each.variant)
        rows.append(_row(context, each) if work.is_up_to_date() else _unbuilt_row(each))
    full = {row["name"]: row["weights_bytes"] for row in rows if row.get("precision") == "fp16"}
    for row in rows:
        reference = full.get(row["name"])
        row["ratio"] = reference / row["weights_bytes"] if row["built"] and reference else None
    return rows


def _unbuilt_row(target: Target) -> dict[str, Any]:
    return {"name": target.name, "variant": target.variant, "built": False}


def _row(context: BuildContext, target: Target) -> dict[str, Any]:
    from ovrecipe.build.run import built_manifest

    plan = context.plan(target.name)
    manifest = built_manifest(context, target)
    weights = _manifest(context, target, "weights")
    return {
        "name": target.name,
        "variant": target.variant,
        "precision": plan.recipe.variants[target.variant].precision,
        "built": True,
        "weights_bytes": manifest.files[WEIGHTS].size_bytes,
        "size_bytes": manifest.size_bytes,
        "seconds": weights.seconds if weights else None,
        "peak_memory_bytes": weights.peak_memory_bytes if weights else None,
        "path": str(context.project.models_dir / target.name / target.variant),
    }


def _manifest(context: BuildContext, target: Target, stage: str) -> Manifest | None:
    key = context.plan(target.name).key(stage, target.variant)
    return context.store.manifest(key) if key and context.store.has(key) else None


def print_sizes(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("variant", no_wrap=True)
    for heading in ("weights MB", "smaller", "compressed in", "peak memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)
    for folder in sorted({str(Path(row["path"]).parent) for row in rows if row["built"]}):
        print(f"in {shown_path(folder)}/")


def _cells(row: dict[str, Any]) -> list[str]:
    target = f"{row['name']}:{row['variant']}"
    if not row["built"]:
        return [target, "not built", "", "", ""]
    return [
        target,
        f"{row['weights_bytes'] / 1e6:.2f}",
        f"{row['ratio']:.3f}x" if row["ratio"] else "",
        f"{row['seconds']:.1f} s" if row["seconds"] is not None else "",
        f"{row['peak_memory_bytes'] / 1e9:.2f} GB" if row["peak_memory_bytes"] else "",
    ]


def shown_path(path: str) -> str:
    """Return the path as a user in this folder would type it."""
    shown = Path(path)
    here = Path.cwd()
    return str(shown.relative_to(here) if shown.is_relative_to(here) else shown)
