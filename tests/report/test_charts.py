"""Plots show every variant, whatever its figures are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ovrecipe.report.charts import layers_chart, sizes_chart
from ovrecipe.report.scatter import Scale, quality_chart
from tests.report.making import variant


def texts(svg: str) -> list[str]:
    """Return what a plot says, in order."""
    return [str(text.text) for text in ET.fromstring(svg).iter("text")]


def dots(svg: str, kind: int) -> int:
    """Return how many dots of a kind there are."""
    [group] = [
        one
        for one in ET.fromstring(svg).iter("g")
        if one.get("class") == f"series serie-{kind} color-{kind}" and list(one.iter("circle"))
    ] or [ET.Element("g")]
    return len(list(group.iter("circle")))


def refused(name: str, size_bytes: int, mean_kl: float) -> dict[str, Any]:
    """Return a variant that a gate refused."""
    return variant(name, size_bytes, mean_kl, state="refused", on_front=False)


def test_the_first_variant_is_at_the_top() -> None:
    """As in the recipe, and in the table above."""
    svg = sizes_chart([variant("fp16", 269_000_000, 0.0), variant("int4", 86_000_000, 0.4)])
    places = {text.text: float(text.get("y", "")) for text in ET.fromstring(svg).iter("text")}
    assert places["fp16"] < places["int4"]
    assert {"269.0 MB", "86.0 MB, 3.13x smaller"} <= {*places}


def test_a_dot_tells_the_verdict_and_the_front() -> None:
    """Filled is accepted; a ring was refused, and nobody takes it for a bargain."""
    worse = variant("int4-b", 90_000_000, 0.5, on_front=False)
    svg = quality_chart([variant("int4", 86_000_000, 0.4), worse, refused("int4-c", 50, 9.0)])
    assert [dots(svg, kind) for kind in range(3)] == [1, 1, 1]
    label = str(ET.fromstring(svg).get("aria-label"))
    assert "int4 86.0 MB, 3.13x smaller, 0.40 ± 0.04 nats, on the front" in label
    assert label.endswith("9.0 ± 0.9 nats, refused")


def test_dots_that_lie_on_each_other_have_one_name() -> None:
    """Two names in one place are none; the front's goes before."""
    near = variant("int4-near", 86_100_000, 0.401, on_front=False)
    shown = texts(
        quality_chart([near, variant("int4", 86_000_000, 0.4), variant("int8", 135_000_000, 0.004)])
    )
    assert {"int8", "int4", "int4-near"} & {*shown} == {"int8", "int4"}


def test_alike_divergences_stand_on_a_plain_axis_and_others_on_decades() -> None:
    """0.3 and 0.5 are apart by a fifth of a decade, which nobody would see beside 1e-6."""
    assert [label for _, label in Scale.of([0.2, 0.55]).marks] == [
        "0",
        "0.1",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
        "0.6",
    ]
    assert [label for _, label in Scale.of([0.1, 0.12]).marks] == ["0", "0.05", "0.1", "0.15"]
    assert [label for _, label in Scale.of([0.0, 0.4]).marks] == [
        "≤1e-6", "1e-5", "0.0001", "0.001", "0.01", "0.1", "1",
    ]  # fmt: skip


@pytest.mark.parametrize("mean_kl", [0.0, 1e-9, 1e-6, 0.01, 1.0, 23.3])
def test_a_single_variant_has_a_plot(mean_kl: float) -> None:
    """An axis from one figure to the same figure would have no length."""
    svg = quality_chart([variant("int4", 86_000_000, mean_kl)])
    assert dots(svg, 0) == 1
    assert "nan" not in svg.lower()


def test_colours_are_those_of_the_page() -> None:
    """A ninth one would be black on black in the dark."""
    kinds = [f"kind{number}" for number in range(12)]
    layer = {"layer": "0", "weights": dict.fromkeys(kinds, 1000)}
    svg = layers_chart(variant("int4", 1, 0.1, layers=[layer]), kinds)
    assert {int(number) for number in re.findall(r"color-(\d+)", svg)} == set(range(8))


def test_each_plot_leaves_styles_scripts_and_tooltips_out() -> None:
    """The page has its own style, and its policy runs no script."""
    for svg in (
        sizes_chart([variant("int4", 86_000_000, 0.4)]),
        quality_chart([variant("int4", 86_000_000, 0.4)]),
        layers_chart(variant("int4", 86_000_000, 0.4), ["u4", "u8"]),
    ):
        tags = {element.tag for element in ET.fromstring(svg).iter()}
        assert tags <= {"svg", "g", "rect", "text", "path", "circle"}
        assert "style=" not in svg
