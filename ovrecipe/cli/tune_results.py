"""Measured settings on a terminal: a table, and size against divergence as a plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from ovrecipe.cli.output import print_json, print_table
from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from ovrecipe.build.tuning.bounds import Found
    from ovrecipe.build.tuning.search import Results
    from ovrecipe.build.tuning.trials import Trials
    from ovrecipe.measure.speed import Summary

HEADINGS = ("setting", "MB", "tokens/s", "mean KL", "same top", "ppl", "")
FIGURES = ("mean_kl", "mean_kl_error", "same_top", "perplexity_ratio")
PLOT_WIDTH, PLOT_HEIGHT = 72, 16
#: What points of a plot are drawn as.
MARKERS = (("·", "measured"), ("o", "front"), ("X", "chosen"))
#: How many names stand in a line about settings that were not measured.
NAMED = 2


def show(found: Sequence[Found], *, front: Sequence[Found], chosen: Found | None) -> None:
    """Print the table, smallest first, and the plot where there is something to compare."""
    ordered = sorted(found, key=lambda one: one.size_bytes)
    rows = [row for one in ordered for row in _rows(one, front=front, chosen=chosen)]
    table = [[*HEADINGS], *rows]
    if not any(one.speed for one in found):
        table = [[*row[:2], *row[3:]] for row in table]
    print_table(table[0], table[1:], figures=True, folded=(len(table[0]) - 1,))
    if tokens := next((one.quality["tokens"] for one in found if "tokens" in one.quality), None):
        typer.echo(f"figures are over {tokens} tokens, where nothing else is said")
    if len(found) > 1:
        typer.echo(plotted(found, front=front, chosen=chosen))


def _rows(one: Found, *, front: Sequence[Found], chosen: Found | None) -> Iterator[list[str]]:
    """Yield what was measured of a setting; below it the figures along a longer text."""
    marks = [*(["front"] if one in front else []), *(["chosen"] if one is chosen else [])]
    beyond = [f"beyond {each.name}" for each in one.exceeded]
    speed = "" if one.speed is None else _speed(one.speed)
    size = f"{one.size_bytes / 1e6:.2f}"
    said = [*marks, *(beyond if one.longer is None else [])]
    yield [one.point.name, size, speed, *_cells(one.quality), "; ".join(said)]
    if one.longer is not None:
        along = f"  {one.longer['tokens']:,} tokens"
        yield [along, "", "", *_cells(one.longer), "; ".join(beyond)]


def _speed(speed: Summary) -> str:
    digits = 0 if speed.median >= 100 else 1
    return f"{speed.median:.{digits}f}±{speed.spread:.{digits}f}"


def _cells(quality: Mapping[str, Any]) -> list[str]:
    # A figure that was no number is not among them.
    figures = {**dict.fromkeys(FIGURES, math.nan), **quality}
    return [
        f"{figures['mean_kl']:.4f}±{figures['mean_kl_error']:.3f}",
        f"{figures['same_top']:.1%}",
        f"x{figures['perplexity_ratio']:.3f}",
    ]


def plotted(found: Sequence[Found], *, front: Sequence[Found], chosen: Found | None) -> str:
    """Return a plot of divergence over size: the front, the other points, and what was chosen."""
    from plotext import figure

    others = [one for one in found if one not in front and "mean_kl" in one.quality]
    best = [] if chosen is None else [chosen]
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
            "longer_figures": None if one.longer is None else dict(one.longer),
            "tokens_a_second": None if one.speed is None else one.speed._asdict(),
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


def show_results(results: Results, *, as_json: bool) -> None:
    """Print figures, front and reasons, or all of it as one document."""
    from ovrecipe.build.tuning.bounds import fastest
    from ovrecipe.build.tuning.bounds import front as front_of

    best, chosen = front_of(results.found), results.chosen
    equals = [one for one in fastest(results.found) if one is not chosen]
    if as_json:
        print_json(
            {
                "chosen": None if chosen is None else chosen.point.name,
                "as_fast": [one.point.name for one in equals],
                "measured": rows(results.found, front=best),
                "not_measured": results.not_measured,
                "impossible": results.impossible,
                "timed_less": results.timed_less,
            }
        )
        return
    if results.found:
        show(results.found, front=best, chosen=chosen)
    if chosen is not None and chosen.speed is not None:
        typer.echo(_speed_of(chosen, equals))
    show_left_out(results.timed_less, "timed less often")
    show_left_out(results.not_measured, "not measured")
    show_left_out(results.impossible, "impossible")


def _speed_of(chosen: Found, equals: Sequence[Found]) -> str:
    """Say how fast the chosen setting is, and which larger ones are no faster beyond noise."""
    assert chosen.speed is not None, "it was timed"
    name, speed = chosen.point.name, f"{_speed(chosen.speed)} tokens/s"
    if not equals:
        return f"{name} is the fastest within the limits: {speed}"
    others = _shortened([one.point.name for one in equals])
    return f"{name}: {speed}; it is the smallest of the fastest, within noise as fast as {others}"


def none_within(target: str, results: Results) -> GateError:
    """Return the error of a search that found nothing: the closest setting, and what it costs."""
    from ovrecipe.build.tuning.bounds import closest

    if not results.found:
        return GateError(f"{target}: no setting could be measured; the recipe is as it was")
    one = closest(results.found)
    along = "" if one.longer is None else f", along {one.longer['tokens']:,} tokens"
    lines = [
        f"{target}: no setting is within the limits; the recipe is as it was",
        f"the closest is {one.point.name}, {one.size_bytes / 1e6:.1f} MB{along}:",
        *map(str, one.exceeded),
    ]
    return GateError(
        "\n".join(lines),
        remedy="accept that much, or search finer settings (--ratio, --group-size)",
    )
