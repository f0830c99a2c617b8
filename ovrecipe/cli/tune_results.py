"""Measured settings on a terminal: a table, and size against divergence as a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ovrecipe.cli.output import print_json, print_table
from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from ovrecipe.build.tuning.bounds import Found
    from ovrecipe.build.tuning.search import Results
    from ovrecipe.build.tuning.trials import Trials

HEADINGS = ("setting", "MB", "mean KL", "same top", "perplexity", "")
FIGURES = ("mean_kl", "mean_kl_error", "same_top", "perplexity_ratio")
PLOT_WIDTH, PLOT_HEIGHT = 72, 16
#: What points of a plot are drawn as.
MARKERS = (("·", "measured"), ("o", "front"), ("X", "chosen"))
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
    marks = [*(["front"] if is_front else []), *(["chosen"] if is_chosen else [])]
    # A figure that was no number is not among them.
    figures = {**dict.fromkeys(FIGURES, math.nan), **one.quality}
    return [
        one.point.name,
        f"{one.size_bytes / 1e6:.2f}",
        f"{figures['mean_kl']:.4f}±{figures['mean_kl_error']:.3f}",
        f"{figures['same_top']:.1%}",
        f"x{figures['perplexity_ratio']:.3f}",
        "; ".join([*marks, *(f"beyond {each.name}" for each in one.exceeded)]),
    ]


def plotted(found: Sequence[Found], *, front: Sequence[Found], chosen: str | None) -> str:
    """Return a plot of divergence over size: the front, the other points, and what was chosen."""
    from plotext import figure

    others = [one for one in found if one not in front and "mean_kl" in one.quality]
    best = [one for one in found if one.point.name == chosen]
    figure.clear()
    figure.plot_size(PLOT_WIDTH, PLOT_HEIGHT)
    # Later ones lie on top.
    for points, (marker, _) in zip((others, front, best), MARKERS, strict=True):
        if points:
            figure.draw(figure.signal(*_places(points), marker=marker))
    figure.label("MB", axis="x")
    figure.label("mean KL", axis="y")
    legend = ", ".join(f"{marker} {meaning}" for marker, meaning in MARKERS)
    return f"{figure.build().string(colorless=True).rstrip()}\n{legend}"


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


def show_plan(trials: Trials, *, as_json: bool) -> None:
    """Print what would be searched, the smallest first."""
    candidates = trials.candidates
    if as_json:
        rows = [
            {
                "name": one.point.name,
                "knobs": dict(one.point.knobs),
                "estimated_bytes": one.estimated_bytes if trials.knows_sizes else None,
                "measured": trials.is_measured(one),
            }
            for one in candidates
        ]
        print_json({"candidates": rows, "impossible": dict(trials.impossible)})
        return
    cells = [
        (
            one.point.name,
            f"{one.estimated_bytes / 1e6:.1f}" if trials.knows_sizes else "?",
            "measured" if trials.is_measured(one) else "",
        )
        for one in candidates
    ]
    print_table(("setting", "about MB", ""), cells, figures=True)
    show_left_out(trials.impossible, "impossible")


def show_results(results: Results, *, as_json: bool, chosen: str | None) -> None:
    """Print figures, front and reasons, or all of it as one document."""
    from ovrecipe.build.tuning.bounds import front as front_of

    best = front_of(results.found)
    if as_json:
        print_json(
            {
                "chosen": chosen,
                "measured": rows(results.found, front=best),
                "not_measured": results.not_measured,
                "impossible": results.impossible,
            }
        )
        return
    show(results.found, front=best, chosen=chosen)
    show_left_out(results.not_measured, "not measured")
    show_left_out(results.impossible, "impossible")


def none_within(target: str, results: Results) -> GateError:
    """Return the error of a search that found nothing: the closest setting, and what it costs."""
    from ovrecipe.build.tuning.bounds import closest

    if not results.found:
        return GateError(f"{target}: no setting could be measured; the recipe is as it was")
    one = closest(results.found)
    lines = [
        f"{target}: no setting is within the limits; the recipe is as it was",
        f"the closest is {one.point.name}, {one.size_bytes / 1e6:.1f} MB:",
        *map(str, one.exceeded),
    ]
    return GateError(
        "\n".join(lines),
        remedy="accept that much, or search finer settings (--ratio, --group-size)",
    )
