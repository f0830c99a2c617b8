"""What OpenAI's own client makes of answers: whole, streamed, several, by schema, with tools."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import openai
import pydantic
import pytest
from conftest import KEY, MODEL

pytestmark = pytest.mark.model
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"model": MODEL, "temperature": 0}


class City(pydantic.BaseModel):
    """What a schema is made of."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: str = pydantic.Field(max_length=20)
    people: int = pydantic.Field(ge=0, le=99_999_999)


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Say what the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_a_chat_is_answered_with_its_usage(client):
    """The whole route."""
    answer = client.chat.completions.create(messages=CAPITAL, **GREEDY)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == MODEL
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_says_the_same_in_pieces(client):
    """And its usage in a last chunk of its own, where it was asked for."""
    whole = client.chat.completions.create(messages=CAPITAL, **GREEDY)
    stream = client.chat.completions.create(
        messages=CAPITAL, stream=True, stream_options={"include_usage": True}, **GREEDY
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content
    assert len(said) > 3
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert [reason for reason in reasons if reason] == ["stop"]


def test_many_asynchronous_requests_are_answered_together(server):
    """Each by its own prompt."""

    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
            capitals = ("France", "Italy", "Spain", "Japan")
            return await asyncio.gather(
                *(
                    client.chat.completions.create(
                        messages=[{"role": "user", "content": f"What is the capital of {land}?"}],
                        **GREEDY,
                    )
                    for land in capitals
                )
            )

    answers = [answer.choices[0].message.content for answer in asyncio.run(ask())]
    assert [city in said for city, said in zip(("Paris", "Rome"), answers[:2], strict=True)]


def test_n_answers_have_seeds_of_their_own(client):
    """The same seed gives the same answers, and they differ among each other."""
    asked = {"model": MODEL, "temperature": 1.0, "n": 3, "seed": 7, "max_tokens": 12}
    first, second = (
        [
            choice.message.content
            for choice in client.chat.completions.create(messages=CAPITAL, **asked).choices
        ]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 1


def test_without_a_seed_answers_differ(client):
    """GenAI's own seed is the same each time."""
    asked = {"model": MODEL, "temperature": 1.5, "max_tokens": 16}
    said = {
        client.chat.completions.create(messages=CAPITAL, **asked).choices[0].message.content
        for _ in range(3)
    }
    assert len(said) > 1


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it(client):
    """As the client expects."""
    answer = client.chat.completions.create(messages=CAPITAL, stop=[" France"], **GREEDY)
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content == "The capital of"


def test_a_limit_ends_an_answer_with_length(client):
    """By the old name and by the new."""
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(messages=CAPITAL, **{name: 3}, **GREEDY)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage.completion_tokens == 3


def test_logprobs_are_of_the_tokens_that_were_said(client):
    """Their texts make the answer; nothing is known of other tokens."""
    answer = client.chat.completions.create(
        messages=CAPITAL, logprobs=True, top_logprobs=1, max_tokens=5, **GREEDY
    )
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert all(token.logprob <= 0 for token in tokens)
    assert tokens[0].top_logprobs[0].token == tokens[0].token
    plain = client.chat.completions.create(
        messages=CAPITAL, logprobs=True, top_logprobs=0, max_tokens=1, **GREEDY
    )
    assert plain.choices[0].logprobs.content[0].top_logprobs == []


def test_a_schema_is_kept(client):
    """Through the client's own way from a class to an object."""
    answer = client.chat.completions.parse(
        messages=[{"role": "user", "content": "Describe a city as JSON."}],
        response_format=City,
        max_tokens=80,
        **GREEDY,
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_any_json_object_is_json(client):
    """`json_object`, which has no schema."""
    answer = client.chat.completions.create(
        messages=[{"role": "user", "content": 'Answer with {"a": 1}'}],
        response_format={"type": "json_object"},
        max_tokens=200,
        **GREEDY,
    )
    said = answer.choices[0].message.content
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(said), dict)
    assert said.lstrip().startswith("{")


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_must_be_made_is_made(client, stream):
    """By a model that knows nothing of tools: a grammar holds it to one."""
    answer = client.chat.completions.create(
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=60,
        stream=stream,
        **GREEDY,
    )
    if stream:
        chunks = [chunk.choices[0] for chunk in answer]
        (call,) = [one for chunk in chunks for one in chunk.delta.tool_calls or ()]
        assert chunks[-1].finish_reason == "tool_calls"
    else:
        (call,) = answer.choices[0].message.tool_calls
        assert answer.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_an_answer_to_a_call_goes_on(client):
    """The turns of a call and its result are part of the conversation."""
    call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    messages = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny, 25 degrees"},
    ]
    answer = client.chat.completions.create(
        messages=messages, tools=[WEATHER], max_tokens=30, **GREEDY
    )
    assert answer.choices[0].message.content


def test_a_text_is_gone_on_with(client):
    """`/v1/completions`: no template, several prompts in one request, logprobs of the old form."""
    answer = client.completions.create(
        prompt=["The capital of France is", "Two and two are"], max_tokens=4, logprobs=1, **GREEDY
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert "Paris" in answer.choices[0].text
    assert "".join(answer.choices[0].logprobs.tokens) == answer.choices[0].text


def test_a_text_is_streamed(client):
    """The same text in pieces."""
    asked = {"prompt": "The capital of France is", "max_tokens": 6, **GREEDY}
    whole = client.completions.create(**asked).choices[0].text
    chunks = list(client.completions.create(stream=True, **asked))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole
    assert chunks[-1].choices[0].finish_reason == "length"


def test_models_are_listed_with_what_is_known_of_them(client):
    """As OpenAI's, and more."""
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == (MODEL, "ovrecipe")
    assert client.models.retrieve(MODEL).model_dump()["variant"] == "int4"


def test_a_bare_recipe_is_a_name_too(client):
    """Where one variant of it is served."""
    answer = client.chat.completions.create(
        model="smollm2-135m", messages=CAPITAL, temperature=0, max_tokens=2
    )
    assert answer.model == MODEL


def test_tokens_of_a_text_and_the_text_of_tokens(server):
    """There and back."""
    with server.http() as http:
        tokens = http.post("/tokenize", json={"content": "Hello, world"}).json()["tokens"]
        assert http.post("/detokenize", json={"tokens": tokens}).json()["content"] == "Hello, world"
        chat = http.post("/tokenize", json={"messages": CAPITAL}).json()
        assert chat["count"] > len(tokens)


def test_health_readiness_and_metrics_say_how_it_goes(server, client):
    """Nothing of what was asked is in them."""
    client.chat.completions.create(messages=CAPITAL, max_tokens=2, **GREEDY)
    with server.http() as http:
        assert http.get("/health").json()["status"] == "ok"
        assert http.get("/ready").status_code == 200
        metrics = http.get("/metrics").text
    assert f'ovrecipe_generation_tokens_total{{model="{MODEL}"}}' in metrics
    assert "gen_ai_server_time_to_first_token_seconds_count" in metrics
    assert "capital" not in metrics


def test_the_page_is_one_file_that_asks_nobody_else(server):
    """Its policy says so to the browser."""
    with server.http() as http:
        page = http.get("/")
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_the_example_of_the_manual_runs(server):
    """A stranger copies it; only the port is another."""
    manual = Path(__file__).parents[3] / "docs" / "serving.md"
    example = re.findall(r"```python\n(.*?)```", manual.read_text(), flags=re.DOTALL)[0]
    script = example.replace("http://127.0.0.1:8000", server.url)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "Paris" in done.stdout
