"""What is refused, how it is told, and that nothing of it takes the server down."""

from __future__ import annotations

import json
import socket
from urllib.parse import quote

import openai
import pytest
from conftest import MODEL

pytestmark = pytest.mark.model
HI = [{"role": "user", "content": "Hi"}]
CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def still_answers(server):
    """Whatever was asked, the next one is answered, by the same engine."""
    before = server.engine.pid
    yield
    answer = server.client().chat.completions.create(model=MODEL, messages=HI, max_tokens=1)
    assert answer.choices[0].finish_reason == "length"
    assert server.engine.pid == before


def schema(content):
    """Return a response format of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": content}}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("messages", [], "messages: must not be empty"),
        ("messages", "Hi", "messages: must be a list"),
        ("messages", [{"role": "alien", "content": "Hi"}], "must be one of system"),
        ("messages", [{"content": "Hi"}], "role: is missing"),
        ("messages", [{"role": "user", "content": "  "}], "the prompt is empty"),
        ("messages", [{"role": "user"}], "content: is missing"),
        ("max_tokens", -1, "max_tokens: must be at least 1"),
        ("max_tokens", 10**30, "max_tokens: "),
        ("max_tokens", 10**9, "more than the 8192 positions"),
        ("max_tokens", "5", "max_tokens: must be a whole number"),
        ("temperature", -0.1, "temperature: must be at least 0"),
        ("top_p", 0, "top_p: must be greater than 0"),
        ("presence_penalty", 3, "presence_penalty: must be at most 2"),
        ("seed", 2**63, "seed: must be less than 9223372036854775808"),
        ("n", 0, "n: must be at least 1"),
        ("stop", "", "must not be empty"),
        ("stream_options", {"include_usage": True}, "means nothing without stream"),
        ("logit_bias", {"5": 1}, "logit_bias: is not supported"),
        ("top_logprobs", 5, "only the chosen token's probability is known"),
        ("adapters", ["mine"], "adapters: is not supported"),
        ("temprature", 1, "perhaps you meant 'temperature'"),
        (
            "response_format",
            schema({"type": "nonsense"}),
            "json_schema: type: must be one of string",
        ),
        (
            "response_format",
            schema({"type": "string", "pattern": "(("}),
            "json_schema: does not compile: Regex parsing error",
        ),
        ("response_format", schema(False), "json_schema: no text can satisfy it"),
        ("response_format", schema({"type": "string", "minLength": 5, "maxLength": 2}), ""),
        ("response_format", {"type": "json_schema"}, "json_schema: is missing"),
        ("grammar", "root ::= (((", "grammar: does not compile: "),
        ("guided_regex", "(", "regex: does not compile: "),
        ("tool_choice", "required", "there are no tools"),
    ],
)
def test_a_request_that_cannot_be_honoured_is_refused_with_its_reason(server, field, value, says):
    """As 400 in OpenAI's shape; a grammar that nobody can compile would end GenAI's pipeline."""
    body = {"model": MODEL, "messages": HI, "max_tokens": 4, field: value}
    with server.http() as http:
        response = http.post(CHAT, json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_the_client_raises_its_own_errors(client):
    """By the status, with the code that programs look at."""
    with pytest.raises(openai.NotFoundError, match="does not exist here"):
        client.chat.completions.create(model="gpt-4", messages=HI)
    long = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(model=MODEL, messages=long)
    assert told.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..", "smollm2-135m/../x", "%2e%2e", "", "a" * 10_000, "\0"]
)
def test_a_name_is_no_path(server, name):
    """Of a model that is not served, whatever it looks like."""
    with server.http() as http:
        assert http.post(CHAT, json={"model": name, "messages": HI}).status_code == 404
        path = "/v1/models/" + quote(name[:1000], safe="")
        assert http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "mapping of keys"),
        (b"[" * 100_000, "not JSON"),
        (b'{"model": NaN}', "not JSON"),
        (json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "\ud800"}]}), ""),
    ],
)
def test_what_is_no_request_is_refused(server, body, says):
    """In OpenAI's shape as well."""
    with server.http() as http:
        response = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


def test_another_content_type_is_refused(server):
    """A page of another site can send it without being asked whether it may."""
    with server.http() as http:
        response = http.post(CHAT, content=json.dumps({"model": MODEL, "messages": HI}))
    assert response.status_code == 415


def test_a_body_of_10_mb_is_refused(server):
    """Whether it says its size or not."""

    def parts():
        for _ in range(10):
            yield b"x" * 1_000_000

    headers = {"content-type": "application/json"}
    with server.http() as http:
        assert http.post(CHAT, content=b"x" * 10_000_000, headers=headers).status_code == 413
    with server.http() as http:
        assert http.post(CHAT, content=parts(), headers=headers).status_code == 413


def test_another_path_or_method_is_told(server):
    """Not as a page of HTML."""
    with server.http() as http:
        assert http.get("/v1/nothing").json()["error"]["code"] == "unknown_url"
        assert http.get(CHAT).status_code == 405


def test_a_strange_host_is_turned_away(server):
    """A page whose name was made to lead here."""
    with server.http() as http:
        response = http.get("/v1/models", headers={"host": "evil.example"})
    assert response.status_code == 421


def test_clients_that_say_nothing_or_little_keep_nobody_waiting(server):
    """Fifty of them, while others are answered."""
    host, port = server.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: ")
        with server.http() as http:
            assert http.get("/health").status_code == 200
    finally:
        for one in slow:
            one.close()


def test_tokens_that_the_model_has_not_are_refused(server):
    """GenAI itself takes any number for a token."""
    with server.http() as http:
        body = {"model": MODEL, "prompt": [1, 10_000_000], "max_tokens": 1}
        response = http.post("/v1/completions", json=body)
        assert "has token 10000000" in response.json()["error"]["message"]
        assert http.post("/detokenize", json={"tokens": [10_000_000]}).status_code == 400
