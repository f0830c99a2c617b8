"""A model's chat template, rendered by Jinja2 as transformers renders it.

Source: transformers `utils/chat_template_utils.py` (5.5), Jinja2 3.1. GenAI's own engine does not
know all of Jinja2, so it is never asked.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from ovrecipe.errors import PromptRefused

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2.ext import Extension
    from jinja2.nodes import Node
    from jinja2.parser import Parser


#: One message: its role and its content.
Message = Mapping[str, str]
Clock = Callable[[], datetime]


class ChatTemplate:
    """A compiled template with the special tokens that it may write."""

    def __init__(self, text: str, *, special_tokens: Mapping[str, str], clock: Clock) -> None:
        self._special_tokens = dict(special_tokens)
        self._template = _compiled(text, clock)

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt for `messages`, up to where the assistant's answer begins.

        Raises:
            PromptRefused: the template does; the message has its line.
        """
        try:
            return self._template.render(
                messages=[dict(each) for each in messages],
                add_generation_prompt=True,
                tools=None,
                documents=None,
                **self._special_tokens,
            )
        except Exception as exc:  # a template can raise anything, and what it raises is its answer
            line = _line_of(exc)
            raise PromptRefused(f"chat template{line}: {exc or type(exc).__name__}") from exc


def _compiled(text: str, clock: Clock) -> Template:
    from jinja2 import TemplateSyntaxError

    try:
        return _environment(clock).from_string(text)
    except TemplateSyntaxError as exc:
        raise PromptRefused(f"chat template, line {exc.lineno}: {exc.message}") from exc


def _environment(clock: Clock) -> Environment:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_block()]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: clock().strftime(form)
    return environment


def _generation_block() -> type[Extension]:
    """Return the extension for `{% generation %}`, written for training: it renders its content."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationBlock(Extension):
        tags = {"generation"}  # noqa: RUF012 - the name and kind that Jinja2 asks for

        def parse(self, parser: Parser) -> Node | list[Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return GenerationBlock


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates pass it by position
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON without Jinja2's escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _line_of(error: BaseException) -> str:
    """Return `, line N`; Jinja2 rewrites tracebacks so that they point into the template."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<template>"
    ]
    return f", line {lines[-1]}" if lines else ""
