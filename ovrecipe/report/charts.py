"""The plots of sizes, of layers and of speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ovrecipe.report.svg import new_chart, svg_of
from ovrecipe.report.texts import layer_counts, megabytes, size_text
from ovrecipe.wording import counted


def sizes_chart(variants: Sequence[Mapping[str, Any]]) -> str:
    """Return bars of the weights' sizes, the first variant at the top."""
    from pygal import HorizontalBar

    # Drawn from the bottom up; room for the text behind the longest bar.
    shown = variants[::-1]
    most = max(megabytes(one) for one in variants)
    chart = new_chart(
        HorizontalBar,
        height=60 + 44 * len(variants),
        print_values=True,
        print_values_position="top",
        range=(0, 1.6 * most),
        show_x_labels=False,
        x_labels=[one["variant"] for one in shown],
    )
    chart.add(
        "weights",
        [{"value": megabytes(one), "formatter": _saying(size_text(one))} for one in shown],
    )
    said = (f"{one['variant']} {size_text(one)}" for one in variants)
    return svg_of(chart, "Size of the weights", said)


def _saying(text: str) -> Callable[[object], str]:
    """Return a formatter that says the same of any value."""
    return lambda _: text


def layers_chart(variant: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Return bars of the share of weights that each layer has in each dtype; `kinds` is all."""
    from pygal import StackedBar

    layers = variant["layers"]
    chart = new_chart(
        StackedBar,
        height=220,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(kinds),
        range=(0, 100),
        show_legend=True,
        show_minor_x_labels=False,
        truncate_label=-1,
        x_labels=[one["layer"] for one in layers],
        x_labels_major=[
            one["layer"]
            for one in layers
            if one["layer"].isdecimal() and int(one["layer"]) % 5 == 0
        ],
        x_title="layer",
        y_labels=[0, 50, 100],
        y_title="% of weights",
    )
    for kind in kinds:
        chart.add(kind, [_share(one["weights"], kind) for one in layers])
    said = (
        f"{kind} in {counted(number, 'layer')}" for kind, number in layer_counts(layers).items()
    )
    return svg_of(chart, f"Precision of the layers of {variant['variant']}", said)


def _share(weights: Mapping[str, int], kind: str) -> float:
    return 100 * weights.get(kind, 0) / sum(weights.values())


def lines_chart(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, x_title: str, y_title: str
) -> str:
    """Return lines through measured places, one for each name."""
    from pygal import XY

    chart = new_chart(
        XY,
        dots_size=4,
        include_x_axis=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        show_legend=True,
        title=title,
        x_title=x_title,
        x_value_formatter="{:.0f}".format,
        x_labels=sorted({x for places in lines.values() for x, _ in places}),
        y_title=y_title,
    )
    for name, places in lines.items():
        chart.add(name, sorted(places))
    said = (
        f"{name}: {', '.join(f'{x:g}: {y:.4g}' for x, y in found)}" for name, found in lines.items()
    )
    return svg_of(chart, title, said)
