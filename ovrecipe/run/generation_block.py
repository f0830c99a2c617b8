"""Jinja2's `{% generation %}` block, which templates write for training and we see through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import nodes
from jinja2.ext import Extension

if TYPE_CHECKING:
    from jinja2.parser import Parser


class GenerationBlock(Extension):
    """Renders what the block contains."""

    tags = {"generation"}  # noqa: RUF012 - the name and kind that Jinja2 asks for

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the nodes between `generation` and `endgeneration`."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)
