"""Plots as SVG that takes its colours from the page, so that it is light or dark with it.

pygal draws them; its own styles, scripts and tooltips are taken out. What a plot shows is said in
its label and in the tables of the page.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ovrecipe.errors import OvrecipeError
from ovrecipe.wording import amount, counted, nats

SVG = "{http://www.w3.org/2000/svg}"
#: Narrow enough that its letters can be read on a phone, where it is as wide as the screen.
WIDTH, HEIGHT, FONT_SIZE = 460, 320, 13
#: About how large the space between the axes is, and a letter; labels stand in it.
PLOT, LETTER, LINE, DOT = (380, 240), 7.5, 14, 6
#: How much of the widest size is left free at the right for labels.
LABEL_ROOM = 0.35
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


def quality_chart(variants: Sequence[Mapping[str, Any]], *, closer: bool = False) -> str:
    """Return divergence against size, with standard errors, verdicts and the front.

    Divergences that differ by more than a factor of ten stand at their logarithms. `closer` leaves
    out the places where no variant is.
    """
    from pygal import XY

    scale = Scale.of([edge for one in variants for edge in _edges(one)])
    sizes = [megabytes(one) for one in variants]
    span = max(sizes) - min(sizes) if closer else max(sizes)
    left, right = (min(sizes) - span / 10 if closer else 0), max(sizes) + LABEL_ROOM * span
    places = {one["variant"]: (megabytes(one), scale.place(_edges(one)[1])) for one in variants}
    labels = _labels(variants, places, (left, right), scale.ends)
    chart = _chart(
        XY,
        allow_interruptions=True,
        dots_size=DOT,
        print_labels=True,
        range=scale.ends,
        show_x_guides=True,
        stroke=False,
        truncate_label=-1,
        x_title="weights, MB",
        x_value_formatter="{:.0f}".format,
        xrange=(left, right),
        y_labels=[{"label": label, "value": place} for place, label in scale.marks],
        y_title="KL from the source, nats",
    )
    for name, kind in KINDS.items():
        own = [one["variant"] for one in variants if kind(one)]
        chart.add(name, [{"value": places[one], "label": labels.get(one)} for one in own])
    front = sorted(places[one["variant"]] for one in variants if one["on_front"])
    errors: list[tuple[float, float | None]] = []
    for one in variants:
        low, _, high = map(scale.place, _edges(one))
        errors += [(megabytes(one), low), (megabytes(one), high), (megabytes(one), None)]
    for line in (front, errors):
        chart.add(None, line, stroke=True, show_dots=False)
    return _svg(chart, "Divergence from the source against size", map(_place_text, variants))


def _place_text(variant: Mapping[str, Any]) -> str:
    kind = next(name for name, is_so in KINDS.items() if is_so(variant))
    shown = f"{variant['variant']} {size_text(variant)}, {divergence(variant['quality'])}"
    return f"{shown}, {kind}"


#: What a dot can be, in the order of the page's colours.
KINDS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "on the front": lambda one: bool(one["on_front"]),
    "accepted": lambda one: one["state"] == "accepted" and not one["on_front"],
    "refused": lambda one: one["state"] == "refused",
}


class Scale(NamedTuple):
    """The axis of divergences: where a value stands, where the axis ends, and its marks."""

    place: Callable[[float], float]
    ends: tuple[float, float]
    marks: Sequence[tuple[float, str]]

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Return the scale for these divergences: linear if they are alike, else logarithmic."""
        least, most = min(values), max(values)
        if most < 10 * least:
            step = 10 ** math.floor(math.log10(most))
            step = step if most > 2 * step else step / 2 if most > step else step / 5
            marks = [step * number for number in range(math.ceil(most / step) + 1)]
            return cls(float, (0, marks[-1]), [(mark, f"{mark:.3g}") for mark in marks])
        decades = range(math.floor(_power(least)), math.ceil(_power(most)) + 1)
        marks_of = [(float(power), _decade(power)) for power in decades]
        return cls(_power, (decades[0], decades[-1]), marks_of)


def _power(divergence: float) -> float:
    return math.log10(max(divergence, LEAST_KL))


def _decade(power: int) -> str:
    shown = f"1e{power}" if power < -4 else f"{10.0**power:g}"
    return f"≤{shown}" if 10.0**power <= LEAST_KL else shown


def _edges(variant: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return a divergence less its standard error, itself, and with the error."""
    quality = variant["quality"]
    mean, error = quality.get("mean_kl", 0.0), quality.get("mean_kl_error", 0.0)
    return max(mean - error, LEAST_KL), max(mean, LEAST_KL), max(mean + error, LEAST_KL)


def _labels(
    variants: Iterable[Mapping[str, Any]],
    places: Mapping[str, tuple[float, float]],
    xs: tuple[float, float],
    ys: tuple[float, float],
) -> dict[str, str]:
    """Return the names that have room beside their dots, those of the front before others."""
    dots = {
        name: (PLOT[0] * (x - xs[0]) / (xs[1] - xs[0]), PLOT[1] * (y - ys[0]) / (ys[1] - ys[0]))
        for name, (x, y) in places.items()
    }
    # From where to where something stands, and at which height: dots, then names beside them.
    taken = [(x - DOT, x + DOT, y) for x, y in dots.values()]
    labels = {}
    for one in sorted(variants, key=lambda one: not one["on_front"]):
        name = one["variant"]
        x, y = dots[name]
        begin, end = x + 2 * DOT, x + 2 * DOT + LETTER * len(name)
        if all(end < left or begin > right or abs(y - at) > LINE for left, right, at in taken):
            labels[name] = name
            taken.append((begin, end, y))
    return labels


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


def _color(found: re.Match[str]) -> str:
    return f"color-{int(found[1]) % COLORS}"


def _svg(chart: Any, title: str, said: Iterable[str]) -> str:
    """Return the plot for a page: no style, script or tooltip, and said in words."""
    root = ET.fromstring(chart.render())  # noqa: S314 - pygal's own, of our numbers
    for parent in root.iter():
        for child in list(parent):
            if child.tag in FOREIGN or TOOLTIPS & {*child.get("class", "").split()}:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        if "class" in element.attrib:
            element.set("class", re.sub(r"color-(\d+)", _color, element.attrib["class"]))
        for name in ("id", "style"):
            element.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", f"{title}: {'; '.join(said)}")
    return ET.tostring(root, encoding="unicode")
