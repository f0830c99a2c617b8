"""Plots as SVG that takes its colours from the page, so that it is light or dark with it.

pygal draws them; its own styles, scripts and tooltips are taken out. What a plot shows is said in
its label and in the tables of the page.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import Any

from ovrecipe.errors import OvrecipeError

SVG = "{http://www.w3.org/2000/svg}"
#: Narrow enough that its letters can be read on a phone, where it is as wide as the screen.
WIDTH, HEIGHT, FONT_SIZE = 460, 320, 13
#: How many colours the page's style sheet has.
COLORS = 8
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


def new_chart(kind: Any, *, height: int = HEIGHT, **config: Any) -> Any:
    """Return an empty plot of one of pygal's kinds, with the page's sizes."""
    from pygal.style import Style

    sizes = ("label", "major_label", "value", "value_label", "title", "legend")
    # The page has the colours; here only how many have classes of their own.
    fonts = {f"{name}_font_size": FONT_SIZE for name in sizes}
    style = Style(colors=("#888",) * COLORS, **fonts)
    defaults = {"show_legend": False, "js": (), "margin": 8, "spacing": 6, "style": style}
    return kind(width=WIDTH, height=height, **{**defaults, **config})


def _color(found: re.Match[str]) -> str:
    return f"color-{int(found[1]) % COLORS}"


def svg_of(chart: Any, title: str, said: Iterable[str]) -> str:
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
