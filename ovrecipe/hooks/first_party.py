"""The plugins that are made together with ovrecipe, for whoever names one and lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Distributions by what they provide: (role, name), as recipes and command lines say it.
DISTRIBUTIONS: Mapping[tuple[str, str], str] = {
    ("command", "web"): "ovrecipe-gradio",
    ("frontend", "gradio"): "ovrecipe-gradio",
    ("frontend", "web"): "ovrecipe-gradio",
    ("frontend", "tui"): "ovrecipe-tui",
    ("compressor", "budget"): "ovrecipe-budget",
    ("output_filter", "redact"): "ovrecipe-redact",
    ("section", "redact"): "ovrecipe-redact",
    ("tokenizer_converter", "sentencepiece"): "ovrecipe-sentencepiece",
}


def install_hint(role: str, name: str) -> str | None:
    """Return how to install who provides a name, if the plugin is one of ours."""
    distribution = DISTRIBUTIONS.get((role, name))
    return None if distribution is None else f"pip install {distribution}"
