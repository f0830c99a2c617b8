"""From what a model says to HTML: Markdown is formatted, and nothing in it can act.

HTML stays text, an image becomes a link to it, and only links to the web or to mail are links.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

#: A relative link would ask this server, `javascript:` and `data:` would run.
SCHEMES = ("http://", "https://", "mailto:")


class Answers(MarkdownIt):
    """CommonMark with tables and strikethrough, for text that nobody has looked at."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False})
        self.enable(["table", "strikethrough"])
        # Without `newline` line breaks and the indentation behind them stay, as `pre-wrap` shows.
        self.disable(["image", "newline"])
        self.core.ruler.push("every_text_in_a_paragraph", _show_paragraphs)
        self.add_render_rule("fence", _code)
        self.add_render_rule("code_block", _code)
        self.add_render_rule("link_open", _link)
        self.add_render_rule("hardbreak", _line_break)

    def validateLink(self, url: str) -> bool:  # noqa: N802 - markdown-it's name
        """Return whether a link may be one; else its Markdown is shown."""
        return url.lower().startswith(SCHEMES)


def _show_paragraphs(state: StateCore) -> None:
    """Write the paragraphs of tight lists too: line breaks are kept in paragraphs only."""
    for token in state.tokens:
        token.hidden = False


def _code(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Return a block of code with its language and a button that copies it."""
    token = tokens[index]
    language = escape(token.info.split(maxsplit=1)[0] if token.info.strip() else "code")
    # Code may be wider than the page, and who has no mouse scrolls it by keys.
    return (
        f'<div class="code"><div class="bar"><span>{language}</span>'
        '<button type="button" class="copy">Copy</button></div>'
        f'<pre tabindex="0"><code>{escapeHtml(token.content)}</code></pre></div>\n'
    )


def _link(renderer: Any, tokens: Sequence[Token], index: int, options: Any, _: Any) -> str:
    """Return a link that opens elsewhere and does not say where the reader came from."""
    tokens[index].attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
    return str(renderer.renderToken(tokens, index, options, {}))


def _line_break(*_: Any) -> str:
    return "\n"
