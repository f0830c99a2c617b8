"""Chat templates in GenAI's own engine: what differs is found, and simplified where that helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.conformance.simplified import form_for, simplified
from ovrecipe.conformance.templates import (
    CONVERSATIONS,
    Render,
    by_genai,
    by_ovrecipe,
    differences,
    turns,
)
from ovrecipe.run.prompt import ChatTemplate

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
LOOP = (
    "{%% for m in messages %%}%s{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|assistant|>\n{%% endif %%}"
)
#: Of each of these GenAI's engine makes nothing, or something else, and Jinja2 does not.
REFUSED = {
    "a % of texts": LOOP % "{{ '<|%s|>\n%s</s>\n' % (m.role, m.content | trim) }}",
    "format": LOOP % "{{ '<|{}|>\n{}</s>\n'.format(m.role, m.content) }}",
    "a first filter": "{% if (messages | first).role != 'system' %}Be good.{% endif %}"
    + LOOP % "<|{{ m.role }}|>{{ m.content }}\n",
    "a loop's own name": "{% set n = 'x' %}"
    + LOOP % "{% if m.role == 'user' %}{{ n }}{% set n = 'y' %}{% endif %}{{ m.content }}\n",
    "with": LOOP % "{% with r = m.role %}{{ r }}: {{ m.content }}\n{% endwith %}",
    "a system text in the first question": (
        "{% set told = messages[0].content if messages[0].role == 'system' else '' %}"
        "{% for m in messages[1:] if told %}"
        "{{ '[INST] %s%s [/INST]' % ('<<SYS>>' ~ told ~ '<</SYS>>' if loop.first else '',"
        " m.content) if m.role == 'user' else m.content + '</s>' }}{% endfor %}"
        "{% for m in messages if not told %}{{ '[INST] %s [/INST]' % m.content"
        " if m.role == 'user' else m.content + '</s>' }}{% endfor %}"
    ),
    "thoughts left out": LOOP
    % "{{ '<|%s|>' % m.role }}{{ m.content.split('</think>')[-1].lstrip('\n') }}</s>",
}


@pytest.fixture(scope="module")
def engine(converted: Callable[[str], tuple[Path, Path]]) -> Callable[[str], Render]:
    """GenAI's engine under a template."""
    from openvino_genai import Tokenizer

    tokenizer = Tokenizer(converted("qwen")[1])

    def render(template: str) -> Render:
        tokenizer.chat_template = template
        return by_genai(tokenizer)

    return render


def formed(text: str, engine: Callable[[str], Render]) -> tuple[Any, str | None]:
    return form_for(text, special_tokens=SPECIAL, wrapped=str, engine=engine)


@pytest.mark.parametrize("name", REFUSED)
def test_a_simplified_form_makes_the_same_prompts_in_genais_engine(
    engine: Callable[[str], Render], name: str
) -> None:
    """Other programs on the directory ask the model as it was trained."""
    text = REFUSED[name]
    others, form = formed(text, engine)
    assert {"one question", "several turns"} & {*others}
    assert form is not None
    own = by_ovrecipe(ChatTemplate(text, special_tokens=SPECIAL))
    left = [difference.check for difference in differences(own, engine(form))]
    assert left in ([], ["chat template, tools"])


def test_what_genai_knows_is_left_as_it_is(engine: Callable[[str], Render]) -> None:
    """Tools that a template does not know are described by GenAI itself, in any form of it."""
    assert formed(LOOP % "<|{{ m.role }}|>\n{{ m.content }}\n", engine) == (["tools"], None)


def test_tools_that_genai_writes_are_not_given_up(engine: Callable[[str], Render]) -> None:
    """Right with tools and wrong without is better than the other way round for nobody."""
    tools = "{% if tools %}{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}"
    text = f"{tools}{{% else %}}{REFUSED['format']}{{% endif %}}"
    others, form = formed(text, engine)
    assert "one question" in others
    assert "tools" not in others
    assert form is None


def test_text_that_the_engine_cuts_inside_a_letter_is_a_difference(
    engine: Callable[[str], Render],
) -> None:
    """It counts bytes; the check of a whole model ended with UnicodeDecodeError."""
    others, form = formed(LOOP % "{{ m.content[:12] }}\n", engine)
    assert "letters beyond ASCII" in others
    assert form is None


@pytest.mark.parametrize(
    "body",
    [
        "{{ '%s: %s' % (strftime_now('%d'), m.content) }}\n",
        "{{ '%s: %s' % (loop.index, m.content) }}\n",
        "{{ m.content | upper }}\n",
        "{{ m.role if m.content else '' }}\n",
    ],
)
def test_what_depends_on_more_than_roles_has_no_simplified_form(body: str) -> None:
    """A date would be that of the build for ever."""
    assert simplified(LOOP % body, SPECIAL) is None


def test_a_simplified_form_refuses_what_its_template_was_not_tried_with() -> None:
    """Two questions in a row, or a role that no conversation of the gate has."""
    form = simplified(REFUSED["format"], SPECIAL)
    assert form is not None
    template = ChatTemplate(form)
    asked, answered = turns("a", "b")
    for messages in ([asked, asked], [answered], [asked, {"role": "tool", "content": "c"}]):
        assert "no place for this message" in by_refusal(template, messages)
    assert template.render([asked, answered], add_generation_prompt=False).endswith("b</s>\n")


def by_refusal(template: ChatTemplate, messages: list[Any]) -> str:
    from ovrecipe.errors import PromptRefused

    with pytest.raises(PromptRefused) as refused:
        template.render(messages)
    return refused.value.message


def test_a_recipes_system_text_is_put_before_the_simplified_form_too(
    engine: Callable[[str], Render],
) -> None:
    """An empty system text silences it there as everywhere."""
    from ovrecipe.build.stages.assemble import with_system

    _, form = form_for(
        REFUSED["format"],
        special_tokens=SPECIAL,
        wrapped=lambda text: with_system(text, "Be brief."),
        engine=engine,
    )
    assert form is not None
    assert form.startswith(with_system("", "Be brief."))
    assert "Be brief." in engine(form)(CONVERSATIONS[0])
