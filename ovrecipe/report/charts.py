"""Plots as SVG that takes its colours from the page, so that it is light or dark with it.

pygal draws them; its own styles, scripts and tooltips are taken out. What a plot shows is said in
its label and in the tables of the page.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.wording import amount, counted, nats

SVG = "{http://www.w3.org/2000/svg}"
#: Narrow enough that its letters can be read on a phone, where it is as wide as the screen.
WIDTH, HEIGHT, FONT_SIZE = 460, 320, 13
#: How many colours the page's style sheet has.
COLORS = 8
#: A divergence below this is drawn here: manifests keep six digits.
LEAST_KL = 1e-6
#: What pygal writes for its own scripts and styles.
FOREIGN = {f"{SVG}{tag}" for tag in ("defs", "desc", "script", "style", "title")}
TOOLTIPS = {"tooltip", "tooltip-overlay"}


def check_installed() -> None:
    """Look for pygal, before anything takes time.

    Raises:
        OvrecipeError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("pygal") is None:
        raise OvrecipeError(
            "the page's plots are drawn by pygal, which is not installed",
            remedy="pip install pygal, or take --format md",
        )


def sizes_chart(variants: Sequence[Mapping[str, Any]]) -> str:
    """Return bars of the weights' sizes, the first variant at the top."""
    from pygal import HorizontalBar

    # Drawn from the bottom up; room for the text behind the longest bar.
    shown = variants[::-1]
    most = max(megabytes(one) for one in variants)
    chart = _chart(
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
    return _svg(chart, "Size of the weights", said)


def megabytes(variant: Mapping[str, Any]) -> float:
    """Return the size of a variant's weights."""
    return float(variant["weights_bytes"] / 1e6)


def size_text(variant: Mapping[str, Any]) -> str:
    """Return `85.8 MB, 3.13x smaller`."""
    ratio = variant["ratio"]
    smaller = f", {ratio:.2f}x smaller" if ratio and round(ratio, 2) != 1 else ""
    return amount(variant["weights_bytes"]) + smaller


def _saying(text: str) -> Callable[[object], str]:
    """Return a formatter that says the same of any value."""
    return lambda _: text


def quality_chart(variants: Sequence[Mapping[str, Any]]) -> str:
    """Return divergence (as its logarithm) against size, with standard errors and the front."""
    from pygal import XY

    heights = {one["variant"]: _height(one["quality"].get("mean_kl")) for one in variants}
    lines = [_error_line(one) for one in variants]
    lows = [y for line in lines for _, y in line]
    decades = range(math.floor(min(lows)), math.ceil(max(lows)) + 1)
    most = max(megabytes(one) for one in variants)
    chart = _chart(
        XY,
        dots_size=6,
        print_labels=True,
        range=(decades[0], decades[-1]),
        show_x_guides=True,
        stroke=False,
        truncate_label=-1,
        x_title="weights, MB",
        x_value_formatter="{:.0f}".format,
        xrange=(0, 1.35 * most),
        y_labels=[{"label": _decade(power), "value": power} for power in decades],
        y_title="KL from the source, nats",
    )
    for one in variants:
        place = megabytes(one), heights[one["variant"]]
        chart.add(one["variant"], [{"value": place, "label": one["variant"]}])
    front = [(megabytes(one), heights[one["variant"]]) for one in variants if one["on_front"]]
    for line in (*lines, sorted(front)):
        chart.add(None, line, stroke=True, show_dots=False)
    said = (f"{one['variant']} {size_text(one)}, {divergence(one['quality'])}" for one in variants)
    return _svg(chart, "Divergence from the source against size", said)


def _height(mean_kl: float | None) -> float:
    return math.log10(max(mean_kl or 0.0, LEAST_KL))


def _error_line(variant: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the line from one standard error below a variant's divergence to one above."""
    quality, size = variant["quality"], megabytes(variant)
    mean, error = quality.get("mean_kl", 0.0), quality.get("mean_kl_error", 0.0)
    return [(size, _height(mean - error)), (size, _height(mean + error))]


def _decade(power: int) -> str:
    shown = f"1e{power}" if power < -4 else f"{10.0**power:g}"
    return f"≤{shown}" if 10.0**power <= LEAST_KL else shown


def divergence(quality: Mapping[str, Any]) -> str:
    """Return `0.066 ± 0.01 nats`."""
    if "mean_kl" not in quality:
        return "no number"
    mean, error = quality["mean_kl"], quality.get("mean_kl_error", 0.0)
    return f"{nats(mean)} ± {error:.1g} nats" if error >= LEAST_KL else f"{nats(mean)} nats"


def layers_chart(variant: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Return bars of the share of weights that each layer has in each dtype; `kinds` is all."""
    from pygal import StackedBar

    layers = variant["layers"]
    chart = _chart(
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
    return _svg(chart, f"Precision of the layers of {variant['variant']}", said)


def _share(weights: Mapping[str, int], kind: str) -> float:
    return 100 * weights.get(kind, 0) / sum(weights.values())


def layer_counts(layers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return in how many layers each dtype has weights, the commonest first."""
    counts = Counter(kind for one in layers for kind in one["weights"])
    return dict(counts.most_common())


def lines_chart(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, x_title: str, y_title: str
) -> str:
    """Return lines through measured places, one for each name."""
    from pygal import XY

    chart = _chart(
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
    return _svg(chart, title, said)


def _chart(kind: Any, *, height: int = HEIGHT, **config: Any) -> Any:
    from pygal.style import Style

    sizes = ("label", "major_label", "value", "value_label", "title", "legend")
    # The page has the colours; here only how many have classes of their own.
    fonts = {f"{name}_font_size": FONT_SIZE for name in sizes}
    style = Style(colors=("#888",) * COLORS, **fonts)
    defaults = {"show_legend": False, "js": (), "margin": 8, "spacing": 6, "style": style}
    return kind(width=WIDTH, height=height, **{**defaults, **config})


def _svg(chart: Any, title: str, said: Iterable[str]) -> str:
    """Return the plot for a page: no style, script or tooltip, and said in words."""
    root = ET.fromstring(chart.render())  # noqa: S314 - pygal's own, of our numbers
    for parent in root.iter():
        for child in list(parent):
            if child.tag in FOREIGN or TOOLTIPS & {*child.get("class", "").split()}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        for name in ("id", "style"):
            element.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", f"{title}: {'; '.join(said)}")
    return ET.tostring(root, encoding="unicode")
