"""Special tokens that a user types stay text, whatever kind of tokenizer reads them."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovrecipe.build.stages.assemble import control_tokens
from ovrecipe.errors import PromptRefused
from ovrecipe.run.genai import GenaiModel
from ovrecipe.run.prompt import ChatTemplate, PromptSettings
from tests.tokenizer.conftest import KINDS

#: What stands between special tokens in the examples: spaces on either side, lines, other scripts.
TEXTS = (
    "a",
    " hi ",
    "  two",
    "\n",
    "\n\n",
    "é",
    "你好",
    "😀",
    "<",
    "|",
    ">",
    "end|>",
    "x<",
    "1\t2",
)


@pytest.fixture(params=KINDS)
def reader(request, converted):
    """A tokenizer as `run` uses it, its control tokens, and GenAI's tokenizer itself."""
    import openvino_genai

    _, tokenizer_dir = converted(request.param)
    tokenizer = openvino_genai.Tokenizer(tokenizer_dir)
    pipeline = GenaiModel(None, tokenizer, "CPU", dict)
    return pipeline, control_tokens(tokenizer_dir, ""), tokenizer


def ids_of(tokens):
    return [int(token) for token in tokens.ids.input_ids.data[0]]


def read(reader, template, content):
    """Return the ids of a message and what they say."""
    pipeline, control, tokenizer = reader
    prompt = ChatTemplate(template, settings=PromptSettings(control_tokens=control)).rendered(
        [{"role": "user", "content": content}]
    )
    ids = ids_of(pipeline.encode(prompt.text, add_special_tokens=False, cuts=prompt.cuts))
    return ids, tokenizer.decode(ids, skip_special_tokens=False)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_text_of_a_user_is_text(reader, data):
    """It says the same letter for letter, and not one of its tokens is a control token."""
    pipeline, control, _ = reader
    known = {ids_of(pipeline.encode(token, add_special_tokens=False))[-1] for token in control}
    mixed = st.lists(st.sampled_from([*control, *TEXTS]), min_size=1, max_size=6)
    content = data.draw(mixed.map("".join).filter(lambda text: text == text.strip()))
    ids, said = read(reader, "{{ messages[0].content }}", content)
    assert said == unicodedata.normalize("NFC", content)
    assert not known & set(ids)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_tokens_of_the_template_stay_what_they_are(reader, data):
    """They are as many as around a message that holds none."""
    pipeline, control, _ = reader
    first, last = control[0], control[-1]
    known = {ids_of(pipeline.encode(token, add_special_tokens=False))[-1] for token in control}
    content = data.draw(
        st.lists(st.sampled_from([*control, *TEXTS]), min_size=1, max_size=6).map("".join)
    )
    template = f"{first}user\n{{{{ messages[0].content }}}}{last}\n"
    ids, _ = read(reader, template, content)
    plain, _ = read(reader, template, "hi")
    assert [token_id for token_id in ids if token_id in known] == [
        token_id for token_id in plain if token_id in known
    ]


def test_a_prompt_without_such_texts_is_read_in_one_piece(reader):
    """As before, to the last id."""
    _, control, tokenizer = reader
    content = "Just a question, with <tags> and | bars."
    template = f"{control[-1]}{{{{ messages[0].content }}}}"
    ids, _ = read(reader, template, content)
    whole = tokenizer.encode(control[-1] + content, add_special_tokens=False).input_ids.data[0]
    assert ids == [int(token) for token in whole]


@pytest.mark.parametrize("reader", ["spm"], indirect=True)
def test_what_the_tokenizer_adds_stays_where_it_is(reader):
    """BOS in front, once, and none in front of a piece."""
    pipeline, _, _ = reader
    text = "hi </s> there"
    added = ids_of(pipeline.encode(text, add_special_tokens=True, cuts=(6,)))
    assert added == [1, *ids_of(pipeline.encode(text, add_special_tokens=False, cuts=(6,)))]


class Restless:
    """A tokenizer whose tokens depend on all that stands before and behind."""

    def encode(self, text, *, add_special_tokens):
        return SimpleNamespace(input_ids=SimpleNamespace(data=[[len(text)] * len(text)]))

    def get_bos_token_id(self):
        return -1


class Deaf(Restless):
    """A tokenizer that drops the last letter of every text."""

    def encode(self, text, *, add_special_tokens):
        ids = [ord(letter) for letter in text[:-1]]
        return SimpleNamespace(input_ids=SimpleNamespace(data=[ids]))

    def decode(self, ids, *, skip_special_tokens):
        return "".join(map(chr, ids))


@pytest.mark.parametrize("tokenizer", [Restless(), Deaf()])
def test_a_tokenizer_that_cannot_be_trusted_with_pieces_refuses_the_prompt(tokenizer):
    """Nothing is sent that says something else, and nothing that is a control token after all."""
    pipeline = GenaiModel(None, tokenizer, "CPU", dict)
    with pytest.raises(PromptRefused, match="cannot read as text"):
        pipeline.encode("hi </s> there", add_special_tokens=False, cuts=(6,))
