"""A report as a page of HTML, or as Markdown; templates lie beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.report import charts, speed, svg, texts
from ovrecipe.report.scatter import quality_chart
from ovrecipe.wording import SHORT, amount, counted

if TYPE_CHECKING:
    from jinja2 import Environment

#: What Markdown takes for marks, and HTML in it.
MARKS = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:])")
#: How many small variants are drawn closer: they lie on each other beside an fp16 one.
CLOSER = 3
#: Figures that are drawn: the plot's name and its axes.
LINES = {
    "ttft_ms": ("First token", "prompt tokens", "ms"),
    "tpot_ms": ("Time a token", "prompt tokens", "ms"),
    "throughput": ("Throughput", "sequences at once", "tokens/s"),
}


def to_html(report: Mapping[str, Any]) -> str:
    """Return one page that needs nothing else: no script, no network.

    Raises:
        OvrecipeError: pygal is not installed.
    """
    svg.check_installed()
    template = _environment().get_template("report.html.jinja")
    # `safe` there: `charts` makes them from XML trees, which escape every text in them.
    return template.render(**_shown(report), charts=_drawn(report))


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as text with tables; what a model said stands in fences."""
    template = _environment().get_template("report.md.jinja")
    return template.render(**_shown(report))


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    found = Environment(
        loader=PackageLoader("ovrecipe.report"),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "amount": amount,
        "counted": counted,
        "divergence": texts.divergence,
        "fenced": fenced,
        "plain": plain,
        "heading": texts.heading,
        "short": _short,
        "size_text": texts.size_text,
        "title": texts.title,
        "value_text": texts.value_text,
        "yaml": _yaml,
    }
    return found


def _shown(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report with what several places of a template ask for."""
    variants = report["variants"]
    built = [one for one in variants if "weights_bytes" in one]
    mixed = [one for one in built if len(texts.layer_counts(one["layers"])) > 1]
    kinds = dict.fromkeys(kind for one in mixed for kind in texts.layer_counts(one["layers"]))
    figures = dict.fromkeys(figure for one in report["speed"] for figure in one["figures"])
    return {
        **report,
        "built": built,
        "measured": [one for one in built if one["quality"]],
        "mixed": mixed,
        "kinds": list(kinds),
        "layer_counts": texts.layer_counts,
        "figures": list(figures),
        "otherwise": list(
            dict.fromkeys(text for one in built for text in one["rendered_otherwise"])
        ),
        "machines": list(dict.fromkeys(one["machine"] for one in report["speed"])),
    }


def _drawn(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots by name; those of which there is nothing to show are left out."""
    shown = _shown(report)
    drawn = {"sizes": charts.sizes_chart(shown["built"])}
    if shown["measured"]:
        drawn["quality"] = quality_chart(shown["measured"])
        most = max(one["weights_bytes"] for one in shown["measured"])
        small = [one for one in shown["measured"] if one["weights_bytes"] < most / 2]
        if CLOSER <= len(small) < len(shown["measured"]):
            drawn["closer"] = quality_chart(small, closer=True)
    for one in shown["mixed"]:
        drawn[f"layers {one['variant']}"] = charts.layers_chart(one, shown["kinds"])
    for number, machine in enumerate(shown["machines"]):
        measured = [one for one in report["speed"] if one["machine"] == machine]
        for figure, (name, x_title, y_title) in LINES.items():
            if lines := speed.line_of(measured, figure):
                plot = charts.lines_chart(name, lines, x_title=x_title, y_title=y_title)
                drawn[f"{figure} {number}"] = plot
    return drawn


def _short(digest: str) -> str:
    return digest[:SHORT]


def _yaml(document: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=88)
    return text.rstrip()


def fenced(text: str, language: str = "") -> str:
    """Return a code block of Markdown whose fence is longer than any that the text has."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def plain(text: object) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return MARKS.sub(r"\\\1", " ".join(str(text).split()))
