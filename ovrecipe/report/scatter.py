"""The plot of quality against size, with standard errors and the front."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ovrecipe.report.svg import new_chart, svg_of
from ovrecipe.report.texts import LEAST_KL, divergence, megabytes, size_text

#: About how large the space between the axes is, a letter, a line and a dot; names stand in it.
PLOT, LETTER, LINE, DOT = (380, 240), 7.5, 14, 6
#: How much of the width is left free at the right for names.
LABEL_ROOM = 0.35


def quality_chart(variants: Sequence[Mapping[str, Any]], *, closer: bool = False) -> str:
    """Return divergence against size, with standard errors, verdicts and the front.

    Divergences that differ by more than a factor of ten stand at their logarithms. `closer` leaves
    out the places where no variant is.
    """
    from pygal import XY

    scale = Scale.of([edge for one in variants for edge in _edges(one)])
    sizes = [megabytes(one) for one in variants]
    span = (max(sizes) - min(sizes) if closer else 0) or max(sizes)
    left, right = (min(sizes) - span / 10 if closer else 0), max(sizes) + LABEL_ROOM * span
    places = {one["variant"]: (megabytes(one), scale.place(_edges(one)[1])) for one in variants}
    labels = _labels(variants, places, (left, right), scale.ends)
    chart = new_chart(
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
    return svg_of(chart, "Divergence from the source against size", map(_place_text, variants))


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
