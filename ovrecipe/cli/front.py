"""Measured settings on a terminal: a table, and size against divergence as a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ovrecipe.cli.output import print_table

if TYPE_CHECKING:
    from ovrecipe.build.tuning.bounds import Found

HEADINGS = ("setting", "MB", "of base", "mean KL", "same top", "perplexity", "")
PLOT_WIDTH, PLOT_HEIGHT = 72, 16
#: How many names stand in a line about settings that were not measured.
NAMED = 2


def show(found: Sequence[Found], *, front: Sequence[Found], chosen: str | None) -> None:
    """Print the table, smallest first, and the plot where there is something to compare."""
    ordered = sorted(found, key=lambda one: one.size_bytes)
    print_table(
        HEADINGS,
        [_cells(one, one in front, one.point.name == chosen) for one in ordered],
        figures=True,
    )
    if len(found) > 1:
        typer.echo(plotted(found, front=front, chosen=chosen))


def _cells(one: Found, is_front: bool, is_chosen: bool) -> list[str]:
    quality = one.quality
    marks = [*(["front"] if is_front else []), *(["chosen"] if is_chosen else [])]
    said = "; ".join([*marks, *(f"beyond {each.name}" for each in one.exceeded)])
    return [
        one.point.name,
        f"{one.size_bytes / 1e6:.2f}",
        f"{quality['size_ratio']:.3f}",
        f"{quality['mean_kl']:.4f} ± {quality['mean_kl_error']:.4f}",
        f"{quality['same_top']:.1%}",
        f"x {quality['perplexity_ratio']:.3f}",
        said,
    ]


def plotted(found: Sequence[Found], *, front: Sequence[Found], chosen: str | None) -> str:
    """Return a plot of divergence over size: the front as a line, other points, what was chosen."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(PLOT_WIDTH, PLOT_HEIGHT)
    others = [one for one in found if one not in front]
    for points, marker, label in ((others, "·", "measured"), (front, "o", "front")):
        if points:
            plotext.scatter(*_places(points), marker=marker, label=label)
    if chosen is not None:
        plotext.scatter(
            *_places([one for one in found if one.point.name == chosen]), marker="X", label="chosen"
        )
    plotext.xlabel("MB")
    plotext.ylabel("mean KL, nats")
    text = plotext.build()
    return plotext.uncolorize(text)


def _places(points: Sequence[Found]) -> tuple[list[float], list[float]]:
    return [one.size_bytes / 1e6 for one in points], [one.quality["mean_kl"] for one in points]


def show_left_out(reasons: Mapping[str, str], heading: str) -> None:
    """Print why settings were not measured, those with one reason in one line."""
    if not reasons:
        return
    typer.echo(f"{heading} ({len(reasons)}):")
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        typer.echo(f"  {_shortened(names)}: {reason}")


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def rows(found: Iterable[Found], *, front: Sequence[Found]) -> list[dict[str, Any]]:
    """Return measured settings for programs."""
    return [
        {
            "name": one.point.name,
            "knobs": dict(one.point.knobs),
            "size_bytes": one.size_bytes,
            "within": one.is_within,
            "beyond": [str(each) for each in one.exceeded],
            "front": one in front,
            "figures": dict(one.quality),
            "warning": one.warning,
        }
        for one in found
    ]
