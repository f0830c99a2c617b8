"""The table of variants that `build` and `sizes` end with: size as bars, quality, verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ovrecipe.cli.output import print_table
from ovrecipe.cli.session import state_of
from ovrecipe.wording import amount, counted, nats

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target

WEIGHTS = "openvino_model.bin"
#: Headings in the order in which they stand; a second line is below the first.
HEADINGS = {
    "variant": "variant", "weights": "weights\nMB", "bar": "", "smaller": "smaller",
    "mean_kl": "KL\nnats", "same_top": "same\ntop", "cosine": "cosine",
    "score_difference": "score\ndifference", "verdict": "verdict",
    "seconds": "made\nin", "peak": "peak\nmemory",
}  # fmt: skip
#: Which of them get room first; figures that nobody has get none.
BY_PRIORITY = ("variant", "weights", "verdict", "smaller", "mean_kl", "same_top", "cosine",
               "score_difference", "bar", "seconds", "peak")  # fmt: skip
VECTOR_FIGURES = ("cosine", "score_difference")
NEVER_LEFT_OUT = ("variant", "weights")
#: Those that are no figures.
TEXTS = ("variant", "bar", "verdict")
#: The least and the most that a bar is wide, and how far columns are apart.
BAR_LEAST, BAR_MOST, GAP = 6, 24, 2
EIGHTHS = " ▏▎▍▌▋▊▉"


def size_rows(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row of facts for each target; the ratio is to the recipe's fp16 weights."""
    rows = [_size_row(context, target) for target in targets]
    full = {row["name"]: row["weights_bytes"] for row in rows if row.get("precision") == "fp16"}
    for row in rows:
        reference = full.get(row["name"])
        known = reference and "weights_bytes" in row
        row["ratio"] = reference / row["weights_bytes"] if known else None
    return rows


def _size_row(context: BuildContext, target: Target) -> dict[str, Any]:
    """Return what is known of a variant: nothing but its state where it is not built."""
    from ovrecipe.build.execute import ViewWork
    from ovrecipe.build.run import built_manifests
    from ovrecipe.run.artifact import ATTENTION

    plan = context.plan(target.name)
    state = state_of(context, plan, target.variant)
    row = {"name": target.name, "variant": target.variant, **state}
    if not (state["built"] or state["refused"]):
        return row
    manifests = built_manifests(context, target)
    assembled, weights = manifests["assemble"], manifests.get("weights")
    view = ViewWork(plan, target.variant)
    compared = manifests["conformance"].facts if "conformance" in manifests else {}
    return {
        **row,
        "precision": plan.recipe.variants[target.variant].precision,
        "weights_bytes": assembled.files[WEIGHTS].size_bytes,
        "size_bytes": assembled.size_bytes,
        "seconds": weights.seconds if weights else None,
        "peak_memory_bytes": weights.peak_memory_bytes if weights else None,
        "quality": manifests["check"].facts.get("quality") if "check" in manifests else None,
        "attention_backend": assembled.facts.get(ATTENTION),
        "objections": view.objections(),
        "rendered_otherwise": compared.get("rendered_otherwise", []),
        "simplified": compared.get("simplified", False),
        "path": str(context.project.models_dir / target.name / target.variant),
    }


def check_any_built(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Look for a variant with figures among a recipe's rows.

    Raises:
        NotBuilt: each is missing or stale.
    """
    from ovrecipe.run.artifact import not_built

    if not any("weights_bytes" in row for row in rows):
        stale = ", ".join(row["variant"] for row in rows if row["stale"])
        now = f" from its settings of now (stale: {stale})" if stale else ""
        raise not_built(name, f"built{now}")


def print_sizes(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the table as wide as the terminal is, and where the models lie."""
    from rich.console import Console

    console = Console()
    cells = [_cells(row) for row in rows]
    sizes = [row.get("weights_bytes", 0) for row in rows]
    # A single bar says nothing.
    widths = _widths(cells, console.width, bars=len([size for size in sizes if size]) > 1)
    for own, size in zip(cells, sizes, strict=True):
        if "bar" in widths:
            blocks = console.encoding.startswith("utf")
            own["bar"] = bar(size / max(sizes), widths["bar"], blocks=blocks)
    shown = [name for name in HEADINGS if name in widths]
    headings = [HEADINGS[name] for name in shown]
    print_table(
        headings,
        ([own[name] for name in shown] for own in cells),
        figures=True,
        left=[number for number, name in enumerate(shown) if name in TEXTS],
    )
    here = Path.cwd()
    for folder in sorted({Path(row["path"]).parent for row in rows if row["built"]}):
        typer.echo(f"in {folder.relative_to(here) if folder.is_relative_to(here) else folder}/")
    notes = [note for row in rows for note in (_backend_note(row), _template_note(row)) if note]
    for note in dict.fromkeys(notes):
        typer.echo(note)


def _backend_note(row: Mapping[str, Any]) -> str:
    """Return how a model is run with which GenAI does not answer as its source does."""
    from ovrecipe.run.artifact import STEPS

    if row.get("attention_backend") != STEPS:
        return ""
    return (
        f"{row['name']}: OpenVINO GenAI does not answer as its source does, so ovrecipe runs it "
        "without, token by token and one prompt at a time"
    )


def _template_note(row: Mapping[str, Any]) -> str:
    """Return what became of a chat template of which GenAI's own engine makes other prompts.

    That it describes tools in words of its own is the rule, and no note.
    """
    others = [name for name in row.get("rendered_otherwise", ()) if name != "tools"]
    if not others:
        return ""
    done = (
        "a simplified form of it, which makes the same, was written for that engine"
        if row["simplified"]
        else "it has no simplified form, so other programs ask it otherwise than ovrecipe"
    )
    of = counted(len(others), "conversation")
    return (
        f"{row['name']}: GenAI's own engine makes another prompt of the chat template in {of} "
        f"({others[0]}{', …' if others[1:] else ''}); {done}"
    )


def bar(share: float, width: int, *, blocks: bool = True) -> str:
    """Return a bar as long as `share` (0 to 1) of a width in columns."""
    if not blocks:
        return "#" * round(share * width)
    full, eighths = divmod(round(share * width * 8), 8)
    return ("█" * full + EIGHTHS[eighths]).rstrip()


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what each column says of a variant; the bar is drawn when its width is known."""
    cells = dict.fromkeys(HEADINGS, "") | {"variant": f"{row['name']}:{row['variant']}"}
    if "weights_bytes" not in row:
        return cells | {"weights": "stale" if row["stale"] else "not built"}
    quality = row["quality"] or {}
    return cells | {
        "weights": f"{row['weights_bytes'] / 1e6:.2f}",
        "smaller": f"{row['ratio']:.3f}x" if row["ratio"] else "",
        "mean_kl": nats(quality["mean_kl"]) if "mean_kl" in quality else "",
        "same_top": f"{quality['same_top']:.1%}" if "same_top" in quality else "",
        **{name: f"{quality[name]:.4f}" for name in VECTOR_FIGURES if name in quality},
        "verdict": "refused" if row["refused"] else "accepted" if quality else "",
        "seconds": f"{row['seconds']:.1f} s" if row["seconds"] is not None else "",
        "peak": amount(row["peak_memory_bytes"]) if row["peak_memory_bytes"] else "",
    }


def _widths(cells: Sequence[Mapping[str, str]], width: int, *, bars: bool) -> dict[str, int]:
    """Return how wide each column is that gets room; bars get what is left."""
    longest = {name: max(len(own[name]) for own in cells) for name in HEADINGS}
    longest["bar"] = BAR_LEAST if bars else 0
    widths: dict[str, int] = {}
    left = width + GAP
    for name in BY_PRIORITY:
        needed = max(longest[name], *map(len, HEADINGS[name].split("\n"))) + GAP
        if longest[name] and (needed <= left or name in NEVER_LEFT_OUT):
            widths[name] = needed - GAP
            left -= needed
    if "bar" in widths:
        widths["bar"] = min(BAR_MOST, widths["bar"] + left)
    return widths
