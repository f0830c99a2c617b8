"""A report as a page of HTML, or as Markdown; templates lie beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.report import charts
from ovrecipe.wording import SHORT, amount, counted

if TYPE_CHECKING:
    from jinja2 import Environment

#: What Markdown takes for marks, and HTML in it.
MARKS = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:])")


def to_html(report: Mapping[str, Any]) -> str:
    """Return one page that needs nothing else: no script, no network.

    Raises:
        OvrecipeError: pygal is not installed.
    """
    from markupsafe import Markup

    charts.check_installed()
    # S704: each is made by `charts` from an XML tree, which escaped every text in it.
    drawn = {name: Markup(svg) for name, svg in _drawn(report).items()}  # noqa: S704
    template = _environment().get_template("report.html.jinja")
    return template.render(**_shown(report), charts=drawn)


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
        "divergence": charts.divergence,
        "fenced": fenced,
        "plain": plain,
        "short": _short,
        "size_text": charts.size_text,
        "yaml": _yaml,
    }
    return found


def _shown(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report with what several places of a template ask for."""
    variants = report["variants"]
    built = [one for one in variants if "weights_bytes" in one]
    kinds: dict[str, None] = {}
    for one in built:
        kinds |= dict.fromkeys(charts.layer_counts(one["layers"]))
    return {
        **report,
        "built": built,
        "measured": [one for one in built if one["quality"]],
        "mixed": [one for one in built if len(charts.layer_counts(one["layers"])) > 1],
        "kinds": list(kinds),
        "layer_counts": charts.layer_counts,
    }


def _drawn(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots by name; those of which there is nothing to show are left out."""
    shown = _shown(report)
    drawn = {"sizes": charts.sizes_chart(shown["built"])}
    if shown["measured"]:
        drawn["quality"] = charts.quality_chart(shown["measured"])
    for one in shown["mixed"]:
        drawn[f"layers {one['variant']}"] = charts.layers_chart(one, shown["kinds"])
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
