"""The plugins that are made together with ovrecipe, for whoever names one and lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovrecipe.hooks.loading import PluginSource

#: Distributions by what they provide: (role, name), as recipes and command lines say it.
DISTRIBUTIONS: Mapping[tuple[str, str], str] = {
    ("compressor", "budget"): "ovrecipe-budget",
    ("output_filter", "redact"): "ovrecipe-redact",
    ("tokenizer_converter", "sentencepiece"): "ovrecipe-sentencepiece",
    ("frontend", "gradio"): "ovrecipe-gradio",
    ("frontend", "tui"): "ovrecipe-tui",
    ("command", "web"): "ovrecipe-gradio",
}


def install_hint(role: str, name: str, installed: Sequence[PluginSource]) -> str | None:
    """Return how to install who provides a name, if it is one of ours and not here yet."""
    wanted = DISTRIBUTIONS.get((role, name))
    if wanted is None or any(each.distribution == wanted for each in installed):
        return None
    return f"pip install {wanted}"
