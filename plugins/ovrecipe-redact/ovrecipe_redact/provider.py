"""The filter that ovrecipe makes for each generation."""

from __future__ import annotations

from ovrecipe_redact.options import Options
from ovrecipe_redact.redactor import Redactor


class Redact(Redactor):
    """A redactor with a recipe's options; the rules are compiled once, with them."""

    options_model = Options

    def __init__(self, options: Options) -> None:
        super().__init__(options.rules, max_length=options.max_length)
