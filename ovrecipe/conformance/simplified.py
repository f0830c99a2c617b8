"""The simplified form of a chat template: the texts around messages, and nothing to compute.

GenAI's own engine knows a part of Jinja2 only. What most templates write is a fixed text before and
after each message, so those texts are found by rendering marks, and written down in the part of the
language that every engine knows. Whether the form is right is not reasoned but tried: over all
conversations it has to make the prompts of the template that it was made from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ovrecipe.conformance.templates import (
    GATE,
    WITHOUT_TOOLS,
    Render,
    by_ovrecipe,
    differences,
    turns,
)
from ovrecipe.errors import PromptRefused
from ovrecipe.run.prompt import ChatTemplate
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.conformance.compare import Difference

#: What stands for messages while the texts around them are looked for; no template knows them.
SYSTEM, ASKED, ANSWERED, AGAIN = "Qs7v", "Qu1v", "Qa1v", "Qu2v"
MARKS = re.compile(f"{SYSTEM}|{ASKED}|{ANSWERED}|{AGAIN}")
#: Templates that write the date make two prompts of these.
DAYS = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2031, 12, 24, 13, 5, tzinfo=UTC))
#: What templates do to a message's text: nothing, trim it, and to an answer's also leave its
#: thoughts out.
CONTENTS = ("message['content']", "message['content'] | trim")
WITHOUT_THOUGHTS = (
    "message['content'].split('</think>')[-1].lstrip('\\n')",
    "message['content'].split('</think>')[-1] | trim",
)


class Around(NamedTuple):
    """The texts around messages; `system` is what surrounds a system text, None if none may be."""

    begin: str
    system: tuple[str, str] | None
    after_question: str
    after_answer: str
    at_question: str
    at_answer: str
    generation: str


def form_for(
    text: str,
    *,
    special_tokens: Mapping[str, str],
    wrapped: Callable[[str], str],
    engine: Callable[[str], Render],
) -> tuple[list[Json], str | None]:
    """Return of which conversations an engine makes other prompts, and the form to give it instead.

    `wrapped` is done to template and form alike, `engine` gives what renders a template. There is
    no form where none is needed, or none helps: it has to be right of every conversation without
    tools, and of those with tools where the template is.
    """
    own = by_ovrecipe(ChatTemplate(wrapped(text), special_tokens=special_tokens))
    found = _names(differences(own, engine(wrapped(text))))
    plain = {conversation.name for conversation in WITHOUT_TOOLS}
    form = simplified(text, special_tokens) if plain & {*found} else None
    if form is not None:
        left = {*_names(differences(own, engine(wrapped(form))))}
        form = wrapped(form) if left <= {*found} - plain else None
    return [*found], form


def _names(found: Iterable[Difference]) -> list[str]:
    return [difference.check.removeprefix(f"{GATE}, ") for difference in found]


def simplified(text: str, special_tokens: Mapping[str, str]) -> str | None:
    """Return the simplified form of a chat template; None where it has none.

    It has none where a prompt depends on more than roles and their order: on the date, or on how
    long a conversation is. Tools are left out: no simplified form has them.
    """
    first, other = (
        ChatTemplate(text, special_tokens=special_tokens, clock=partial(_fixed, day))
        for day in DAYS
    )
    if any(differences(by_ovrecipe(first), by_ovrecipe(other))):
        return None
    around = _around(first)
    if around is None:
        return None
    for candidate in _forms(around):
        own = by_ovrecipe(ChatTemplate(candidate))
        if not any(differences(by_ovrecipe(first), own, WITHOUT_TOOLS)):
            return candidate
    return None


def _fixed(day: datetime) -> datetime:
    return day


def _around(template: ChatTemplate) -> Around | None:
    """Return the texts around messages, as far as marks tell; None if they do not stay in order."""
    try:
        begin, at_question = _pieces(template, ASKED)
        opened = _pieces(template, ASKED, generation=True)[-1]
        *_, after_question, at_answer = _pieces(template, ASKED, ANSWERED)
        _, _, after_answer, _ = _pieces(template, ASKED, ANSWERED, AGAIN)
    except (PromptRefused, ValueError):
        return None
    if not opened.startswith(at_question):
        return None
    generation = opened.removeprefix(at_question)
    return Around(
        begin, _system(template), after_question, after_answer, at_question, at_answer, generation
    )


def _system(template: ChatTemplate) -> tuple[str, str] | None:
    try:
        before, after, _ = _pieces(template, ASKED, system=SYSTEM)
    except (PromptRefused, ValueError):
        return None
    return before, after


def _pieces(
    template: ChatTemplate, *marks: str, system: str = "", generation: bool = False
) -> list[str]:
    """Return the texts around marks.

    Raises:
        PromptRefused: the template does.
        ValueError: the marks are not there, each once and in their order.
    """
    messages = turns(*marks, system=system)
    prompt = template.render(messages, add_generation_prompt=generation)
    wanted = [system, *marks] if system else [*marks]
    if MARKS.findall(prompt) != wanted:
        raise ValueError(prompt)
    return MARKS.split(prompt)


def _forms(around: Around) -> Iterator[str]:
    """Yield the templates that write these texts, by what they do to messages."""
    for of_system, of_question, of_answer in product(
        CONTENTS, CONTENTS, (*CONTENTS, *WITHOUT_THOUGHTS)
    ):
        yield _form(around, of_system, of_question, of_answer)


def _form(around: Around, of_system: str, of_question: str, of_answer: str) -> str:
    refusal = "{{- raise_exception('the chat template has no place for this message') -}}"
    said = refusal
    if around.system is not None:
        before, after = around.system
        said = f"{_write(before)}{{{{- {of_system} -}}}}{_write(after)}"
    return (
        f"{{%- if messages[0]['role'] != 'system' -%}}{_write(around.begin)}{{%- endif -%}}"
        "{%- for message in messages -%}"
        f"{{%- if message['role'] == 'system' and loop.first -%}}{said}"
        "{%- elif message['role'] == 'user' and (loop.first or loop.previtem['role'] != 'user') -%}"
        f"{{{{- {of_question} -}}}}"
        f"{_next(around.at_question, around.after_question)}"
        "{%- elif message['role'] == 'assistant' and not loop.first"
        " and loop.previtem['role'] == 'user' -%}"
        f"{{{{- {of_answer} -}}}}"
        f"{_next(around.at_answer, around.after_answer)}"
        f"{{%- else -%}}{refusal}{{%- endif -%}}"
        "{%- endfor -%}"
        f"{{%- if add_generation_prompt -%}}{_write(around.generation)}{{%- endif -%}}"
    )


def _next(last: str, between: str) -> str:
    return f"{{%- if loop.last -%}}{_write(last)}{{%- else -%}}{_write(between)}{{%- endif -%}}"


def _write(text: str) -> str:
    return f"{{{{- {json.dumps(text, ensure_ascii=False)} -}}}}" if text else ""
