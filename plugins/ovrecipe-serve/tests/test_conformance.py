"""What the tests of vLLM's and llama.cpp's servers check, as far as it applies here.

The names are theirs; docs/serving.md has the same ones, and those that do not apply or fail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest
from conftest import MODEL

pytestmark = pytest.mark.model
MANUAL = Path(__file__).parents[3] / "docs" / "serving.md"
ASK = [
    {"role": "system", "content": "you are a helpful assistant"},
    {"role": "user", "content": "what is 1+1?"},
]
#: The checks by the names of those that they are of.
CHECKS: dict[str, Callable[[openai.OpenAI], None]] = {}


def of(*names: str):
    """Note a check under the names of theirs."""

    def noted(check):
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return noted


def chat(client, **asked):
    """Ask for five tokens."""
    return client.chat.completions.create(
        **{"model": MODEL, "messages": ASK, "max_completion_tokens": 5, **asked}
    )


def complete(client, **asked):
    """Ask for five tokens behind a text."""
    return client.completions.create(
        **{"model": MODEL, "prompt": "Hello, my name is", "max_tokens": 5, **asked}
    )


def refused(call, *args, **asked):
    """Expect 400, and that the next request is answered."""
    with pytest.raises(openai.BadRequestError):
        call(*args, **asked)
    assert call(args[0]).choices


@of("test_no_logprobs_chat", "test_no_logprobs")
def without_logprobs(client):
    """None are given that were not asked for."""
    assert chat(client, logprobs=False).choices[0].logprobs is None
    assert complete(client).choices[0].logprobs is None


@of("test_zero_logprobs_chat")
def chosen_logprobs(client):
    """Of the chosen tokens alone."""
    content = chat(client, logprobs=True, top_logprobs=0).choices[0].logprobs.content
    assert [one.top_logprobs for one in content] == [[]] * 5


@of("test_zero_logprobs")
def chosen_logprobs_of_a_text(client):
    """The chosen token stands among the likeliest."""
    found = complete(client, logprobs=0).choices[0].logprobs
    assert [len(top) for top in found.top_logprobs] == [1] * 5
    assert len(found.token_logprobs) == 5


@of("test_too_many_chat_logprobs", "test_too_many_completion_logprobs")
def too_many_logprobs(client):
    """Streamed or not; the server answers afterwards."""
    for streamed in (True, False):
        refused(chat, client, logprobs=True, top_logprobs=21, stream=streamed)
        refused(complete, client, logprobs=21, stream=streamed)


@of("test_single_chat_session")
def session(client):
    """Usage adds up, and the conversation goes on."""
    first = chat(client)
    assert first.id
    assert first.choices[0].finish_reason == "length"
    assert first.usage.completion_tokens == 5
    assert first.usage.total_tokens == first.usage.prompt_tokens + 5
    said = first.choices[0].message
    assert said.role == "assistant"
    turns = [*ASK, {"role": "assistant", "content": said.content}, {"role": "user", "content": "?"}]
    assert chat(client, messages=turns).choices[0].message.content is not None


@of("test_chat_streaming", "test_completion_streaming")
def streaming(client):
    """The same text in pieces, and one reason at the end."""
    whole = chat(client, temperature=0)
    chunks = list(chat(client, temperature=0, stream=True))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == whole.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert [one for one in reasons if one] == reasons[-1:] == ["length"]
    assert len({chunk.id for chunk in chunks}) == 1
    text = complete(client, temperature=0).choices[0].text
    chunks = list(complete(client, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == text
    assert chunks[-1].choices[0].finish_reason == "length"


@of("test_chat_completion_stream_options", "test_completion_stream_options")
def stream_options(client):
    """Usage in a last chunk of its own, if it was asked for; no options without a stream."""
    for call in (chat, complete):
        for options in ({}, {"include_usage": False}):
            chunks = list(call(client, stream=True, stream_options=options))
            assert all(chunk.usage is None for chunk in chunks)
        *chunks, last = call(client, stream=True, stream_options={"include_usage": True})
        assert all(chunk.usage is None for chunk in chunks)
        assert last.choices == []
        assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
        refused(call, client, stream=False, stream_options={"include_usage": True})


@of("test_response_format_json_object", "test_response_format_text")
def response_formats(client):
    """JSON that can be read, or any text."""
    asked = {"response_format": {"type": "json_object"}, "max_completion_tokens": 40}
    found = chat(client, temperature=0, **asked).choices[0]
    assert found.finish_reason == "length" or isinstance(json.loads(found.message.content), dict)
    assert found.message.content.lstrip().startswith("{")
    assert chat(client, response_format={"type": "text"}).choices[0].message.content is not None


@of("test_response_format_json_schema", "test_completion_with_response_format")
def response_schemas(client):
    """By the schema, or 400 for what is none."""
    digit = {"type": "integer", "minimum": 0, "maximum": 9}
    schema = {"type": "object", "properties": {"result": digit}, "required": ["result"]}
    schema["additionalProperties"] = False
    form = {"type": "json_schema", "json_schema": {"name": "foo", "schema": schema}}
    found = chat(client, response_format=form, max_completion_tokens=60, temperature=0)
    assert 0 <= json.loads(found.choices[0].message.content)["result"] <= 9
    constant = {"type": "json_schema", "json_schema": {"schema": {"const": "foooooo"}}}
    found = chat(client, response_format=constant, max_completion_tokens=10)
    assert json.loads(found.choices[0].message.content) == "foooooo"
    for wrong in ({"type": "sound"}, {"type": "json_schema", "json_schema": {"schema": 123}}):
        refused(chat, client, response_format=wrong)
    for kind in (123, "hiccup"):
        schema = {"type": "json_schema", "json_schema": {"schema": {"type": kind}}}
        refused(chat, client, response_format=schema)


@of("test_completion_with_grammar", "test_completion_with_invalid_grammar")
def grammars(client):
    """llama.cpp's field; one that does not compile is 400."""
    found = chat(client, extra_body={"grammar": 'root ::= "a"{5,5}'}, max_completion_tokens=6)
    assert found.choices[0].message.content == "aaaaa"
    refused(chat, client, extra_body={"grammar": "this is not a grammar"})


@of("test_complex_message_content")
def parts(client):
    """A text in parts is the text."""
    in_parts = [{"role": "user", "content": [{"type": "text", "text": "what is 1+1?"}]}]
    whole = [{"role": "user", "content": "what is 1+1?"}]
    texts = [chat(client, messages=one, temperature=0) for one in (in_parts, whole)]
    assert texts[0].choices[0].message.content == texts[1].choices[0].message.content


@of("test_long_seed")
def seeds(client):
    """Beyond 64 bits there are none."""
    for seed in (-(2**63) - 1, 2**63):
        refused(chat, client, seed=seed)
    assert chat(client, seed=-(2**63)).choices


@of(
    "test_chat_completion_n_parameter_non_streaming",
    "test_chat_completion_n_with_seed",
    "test_chat_completions_multiple_choices",
    "test_parallel_no_streaming",
)
def several(client):
    """Choices by their index, which differ, and are the same with the same seed."""
    asked = {"n": 3, "temperature": 1.0, "seed": 42, "max_completion_tokens": 12}
    texts = [
        [(one.index, one.message.content) for one in chat(client, **asked).choices]
        for _ in range(2)
    ]
    assert [index for index, _ in texts[0]] == [0, 1, 2]
    assert len({text for _, text in texts[0]}) > 1
    assert {one.index for one in complete(client, n=3).choices} == {0, 1, 2}


@of("test_chat_completion_n_parameter_streaming", "test_parallel_streaming")
def several_streamed(client):
    """Each piece says of which choice it is, and each choice ends once."""
    chunks = list(chat(client, n=2, stream=True, extra_body={"ignore_eos": True}))
    ended = [one.index for chunk in chunks for one in chunk.choices if one.finish_reason]
    assert sorted(ended) == [0, 1]
    said = {one.index for chunk in chunks for one in chunk.choices if one.delta.content}
    assert said == {0, 1}


@of("test_single_completion", "test_batch_completions")
def completions(client):
    """A text, tokens, or several of them."""
    found = complete(client, extra_body={"ignore_eos": True})
    assert found.choices[0].finish_reason == "length"
    assert found.usage.completion_tokens == 5
    assert complete(client, prompt=[5, 6, 7], max_tokens=5).choices[0].text is not None
    both = complete(client, prompt=["Paris is", "Rome is"])
    assert [one.index for one in both.choices] == [0, 1]
    assert len(complete(client, prompt=["Paris is", "Rome is"], n=2).choices) == 4


@of("test_empty_prompt", "test_empty_prompt_list_rejected", "test_out_of_vocab_token_ids")
def prompts(client):
    """None, no text, and no token of the model are 400."""
    for prompt in (None, [], "", [[]], [999_999]):
        refused(complete, client, prompt=prompt)


@of("test_invalid_chat_completion_req")
def conversations(client):
    """What is no conversation is 400."""
    wrong = (None, "string", [123], [{}], [{"role": 123}], [{"role": "system", "content": 123}])
    for messages in (*wrong, [{"role": "system", "content": "test"}, {}]):
        refused(chat, client, messages=messages)


@of("test_chat_completion_request_rejects_non_object_body", "test_request_wrong_content_type")
def bodies(client):
    """What is no object, and what says that it is no JSON."""
    url = f"{client.base_url}chat/completions"
    headers = {"content-type": "application/json"}
    for body in (b'"this is not valid json{{{"', b'["not", "an", "object"]', b"42", b"null"):
        assert httpx.post(url, content=body, headers=headers).status_code == 400
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert httpx.post(url, content=b"{}", headers=headers).status_code == 415


@of("test_null_tool_choice_defaults_to_auto_like_an_absent_one")
def tool_choices(client):
    """Null means what leaving it out means; what is no choice is 400."""
    tool = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}
    found = [
        chat(client, tools=[tool], temperature=0, **more).choices[0].message.content
        for more in ({}, {"tool_choice": None}, {"tool_choice": "auto"})
    ]
    assert len(set(found)) == 1
    refused(chat, client, tools=[tool], tool_choice="bogus")


@of("test_check_models", "test_server_models", "test_check_health", "test_server_start_simple")
def models(client):
    """The list has what is served, and the server says that it lives."""
    assert [(one.id, one.object) for one in client.models.list().data] == [(MODEL, "model")]
    root = str(client.base_url).removesuffix("v1/")
    assert httpx.get(f"{root}health").status_code == 200


@of("test_tokenize_detokenize")
def tokens(client):
    """There and back."""
    root, text = str(client.base_url).removesuffix("v1/"), "What is the capital of France ?"
    found = httpx.post(f"{root}tokenize", json={"content": text}).json()["tokens"]
    assert len(found) > 5
    back = httpx.post(f"{root}detokenize", json={"tokens": found}).json()
    assert back["content"].strip() == text


@of("test_context_size_exceeded", "test_context_size_exceeded_stream")
def long_prompts(client):
    """400 with the code, before anything is streamed."""
    for streamed in (False, True):
        with pytest.raises(openai.BadRequestError) as told:
            chat(client, messages=ASK * 700, stream=streamed)
        assert told.value.code == "context_length_exceeded"


@pytest.mark.parametrize("check", dict.fromkeys(CHECKS.values()), ids=lambda check: check.__name__)
def test_what_others_check_holds_here(client, check):
    """Each by its own request."""
    check(client)


def test_the_manual_has_the_checks_that_pass():
    """By their names, no more and no less."""
    section = MANUAL.read_text(encoding="utf-8").split("## What others' clients and tests")[1]
    passing = [line for line in section.splitlines() if line.endswith("| pass |")]
    named = set(re.findall(r"`(test_\w+)`", "\n".join(passing)))
    elsewhere = {name for name in named if name.startswith("test_embedding") or "rerank" in name}
    assert named - elsewhere == set(CHECKS)
