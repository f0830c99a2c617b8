"""From an instruction to the text that the model sees."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ovrecipe.run.chat_template import ChatTemplate

from ovrecipe.errors import PromptRefused
from ovrecipe.run.prompt import PlainTemplate, checked_instruction, prompt_template
from tests.run.fakes import recipe

SMOL = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def clock():
    return datetime(2026, 2, 3, 4, 5, tzinfo=UTC)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def rendered(text, messages, **tokens):
    return ChatTemplate(text, special_tokens=tokens, clock=clock).render(messages)


@given(instruction=st.text())
def test_an_instruction_is_put_in_as_it_is(instruction):
    """Braces, backslashes and markers in it are the user's text, not ours."""
    template = PlainTemplate("S {system} I {instruction} E")
    messages = [system("{instruction}"), user(instruction)]
    assert template.render(messages) == f"S {{instruction}} I {instruction} E"


def test_placeholders_in_an_instruction_stay():
    """Substituting twice would let a user read the system text."""
    template = PlainTemplate("{system}: {instruction}")
    asked = template.render([system("secret"), user("{system} {instruction}")])
    assert asked == "secret: {system} {instruction}"


def test_other_braces_of_a_template_stay():
    """Templates may show JSON."""
    assert PlainTemplate('{"a": {b}} {instruction}').render([user("x")]) == '{"a": {b}} x'


def test_turns_of_a_plain_template_follow_one_another():
    """A recipe without a chat template can be talked with too."""
    template = PlainTemplate("Instruct: {instruction}\nOutput:", eos_token="<|endoftext|>")
    asked = template.render([user("one"), assistant(" 1"), user("two")])
    assert asked == "Instruct: one\nOutput: 1\nInstruct: two\nOutput:"


def test_bos_is_written_once_and_answers_are_closed_as_in_training():
    """Mistral's own format of a second turn."""
    template = PlainTemplate("<s>[INST] {instruction} [/INST]", bos_token="<s>", eos_token="</s>")
    asked = template.render([user("one"), assistant(" 1"), user("two")])
    assert asked == "<s>[INST] one [/INST] 1</s>\n[INST] two [/INST]"


def test_a_system_text_without_a_place_is_refused():
    """Ignoring it would change answers without a word."""
    with pytest.raises(PromptRefused, match=r"no \{system\}"):
        PlainTemplate("{instruction}").render([system("be brief"), user("hi")])


LETTERS = st.text(alphabet="aé'\"\\{}%#+-\n\r\t \u2028\x85\x01😀", max_size=6)
PIECES = st.one_of(
    LETTERS, st.sampled_from(["{instruction}", "{system}", "<s>", "</s>", "{{", "}}", "{%", "%}"])
)
CONVERSATION = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "system", "tool"]),
        st.lists(PIECES, max_size=3).map("".join),
    ),
    max_size=5,
)


def rendered_or_refused(template, messages):
    try:
        return template.render(messages)
    except PromptRefused:
        return PromptRefused


@settings(deadline=None, max_examples=300)
@given(
    text=st.lists(PIECES, max_size=5).map("".join),
    messages=CONVERSATION,
    recipes_own=st.one_of(st.just(""), LETTERS),
)
@example(text="<s>{instruction} or {instruction}", messages=[user("a")], recipes_own="")
@example(text="{system}: {instruction}", messages=[user("a")], recipes_own="say {instruction}")
@example(text="{instruction}", messages=[system("be brief"), user("a")], recipes_own="")
def test_a_template_says_the_same_to_other_programs(text, messages, recipes_own):
    """They read the Jinja2 in the directory; `ovrecipe run` reads the recipe."""
    template = PlainTemplate(text, bos_token="<s>", eos_token="</s>")
    jinja = ChatTemplate(template.to_jinja(system=recipes_own), special_tokens={}, clock=clock)
    told = any(each["role"] == "system" for each in messages)
    asked = messages if told or not recipes_own else [system(recipes_own), *messages]
    assert rendered_or_refused(jinja, messages) == rendered_or_refused(template, asked)


@pytest.mark.parametrize("text", ["", "  \n\t", "\u3000"])
def test_a_blank_instruction_is_refused(text):
    """The model would answer nobody's question."""
    with pytest.raises(PromptRefused, match="empty"):
        checked_instruction(text)


def test_half_a_surrogate_pair_is_refused():
    """Python makes them of broken bytes on the command line."""
    with pytest.raises(PromptRefused, match="character 3 is half a surrogate pair"):
        checked_instruction("ab\udcff")


def test_chat_templates_render_as_in_transformers():
    """White space around blocks is trimmed, special tokens are there, JSON is not for HTML."""
    text = (
        "{{ bos_token }}\n"
        "{% for m in messages %}\n"
        "    {% if m.role == 'system' %}{% continue %}{% endif %}\n"
        "{{ m | tojson }}{{ '%05.2f' % 1.5 }}\n"
        "{% generation %}x{% endgeneration %}\n"
        "{% endfor %}\n"
        "{{ strftime_now('%Y-%m-%d') }}{% if tools %}tools{% endif %}"
    )
    asked = rendered(text, [system("s"), user("a<b 'é'")], bos_token="<s>")
    assert asked == '<s>\n{"role": "user", "content": "a<b \'é\'"}01.50\nx2026-02-03'


def test_jinja_as_genai_does_not_know_it_works():
    """GenAI's own engine fails on these."""
    text = (
        "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{% endcall %}"
        "{% for role, group in messages | groupby('role') %}{{ role }}{% endfor %}"
        "{% for pair in messages | batch(2) %}{{ pair | length }}{% endfor %}"
    )
    assert rendered(text, [user("a"), assistant("b"), user("c")]) == "[x]assistantuser21"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{{ raise_exception('roles must alternate') }}", "line 2: roles must alternate"),
        ("a\n\n{% if %}", r"line 3: "),
        ("{{ messages[0].content.nothing.more }}", "line 1: .*no attribute 'nothing'"),
        ("{{ ''.__class__.__mro__ }}", "line 1: .*unsafe"),
        ("\n{{ 1 + 'a' }}", "line 2: unsupported operand"),
        ("{{ messages.append(1) }}", "line 1: .*'append' .* is unsafe"),
    ],
)
def test_what_a_template_refuses_is_told_with_its_line(text, message):
    """The author of a template is not at hand; the line is the clue."""
    with pytest.raises(PromptRefused, match=f"(?s)chat template, {message}"):
        rendered(text, [user("hi")])


def test_the_recipe_chooses_its_template(tmp_path):
    """A text in the recipe wins over the model's own; without one it is the model's."""
    (tmp_path / "chat_template.jinja").write_text("model: {{ messages[0].content }}")

    def asked(**prompt):
        chosen = recipe(prompt=prompt)
        return prompt_template(chosen, tmp_path, clock=clock).render([user("hi")])

    assert asked() == "model: hi"
    assert asked(chat_template="model") == "model: hi"
    assert asked(chat_template="own: {{ messages[0].content }}") == "own: hi"
    assert asked(template="plain: {instruction}") == "plain: hi"


def test_the_template_in_tokenizer_config_is_found(tmp_path):
    """Older checkpoints have no file of its own; tokens may be objects."""
    config = {
        "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
        "bos_token": {"content": "<s>", "lstrip": False},
        "eos_token": "</s>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    template = prompt_template(recipe(prompt={}), tmp_path, clock=clock)
    assert template.render([user("hi")]) == "<s>hi</s>"


def test_no_template_at_all_is_refused(tmp_path):
    """Raw text to an instruct model was one of the tutorial's defects (10)."""
    with pytest.raises(PromptRefused, match="neither the recipe nor the model"):
        prompt_template(recipe(prompt={}), tmp_path, clock=clock)


def test_the_same_prompt_as_transformers(tmp_path):
    """The reference for chat templates, on the real template of SmolLM2's kind."""
    transformers = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [system("s"), user("  a {{ b }}\n"), assistant("c"), user("d")]
    [expected], _ = transformers.render_jinja_template(
        [messages], chat_template=SMOL, add_generation_prompt=True
    )
    assert rendered(SMOL, messages) == expected
