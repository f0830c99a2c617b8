"""The provider that ovrecipe calls: options to a filter for each generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe_redact.options import Options
from ovrecipe_redact.redactor import Redactor

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.hooks.roles import OutputFilter


class RedactProvider:
    """Makes a filter for each generation; the rules are compiled once, with the options."""

    options_model: type[BaseModel] | None = Options

    def create(self, options: BaseModel | None) -> OutputFilter:
        """Return a fresh filter with validated options."""
        assert isinstance(options, Options), "validated before"
        return Redactor(options.rules, max_length=options.max_length)
