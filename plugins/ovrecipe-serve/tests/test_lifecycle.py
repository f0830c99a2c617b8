"""Keys, a full queue, clients that leave, an engine that dies, and an orderly end."""

from __future__ import annotations

import json
import signal
import socket
import threading

import httpx
import openai
import pytest
from conftest import HANGS_SECONDS, KEY, MODEL

pytestmark = [pytest.mark.model, pytest.mark.slow]
HI = [{"role": "user", "content": "Tell me a story."}]
LONG = {"model": MODEL, "messages": HI, "max_tokens": 4000, "temperature": 0}
LONG_BODY = {**LONG, "ignore_eos": True}


@pytest.fixture(scope="module")
def small(serve, tmp_path_factory):
    """A server that answers one, lets one wait, and wants a key."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"# of the tests\nanother\n{KEY}\n")
    limits = ("--at-once", "1", "--max-waiting", "1", "--api-keys-file", str(keys))
    return serve(MODEL, *limits, "--drain-timeout", "60")


def streamed(served):
    """Return a stream that runs for long, begun."""
    stream = served.client().chat.completions.create(
        stream=True, extra_body={"ignore_eos": True}, **LONG
    )
    while not next(stream).choices[0].delta.content:
        pass
    return stream


def connected(served, body, part=1.0):
    """Return a connection on which so much of a request was sent."""
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    whole = head.encode() + content
    host, port = served.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(whole[: int(len(whole) * part)])
    return connection


def in_metrics(served, line):
    """Return whether the metrics have a line by now."""
    text = httpx.get(f"{served.url}/metrics", headers={"x-api-key": KEY}).text
    return line in text.splitlines()


def until(served, line):
    """Wait until the metrics say so; each look is a request, so it is no busy waiting."""
    while not in_metrics(served, line):
        assert served.process.poll() is None


def test_a_key_is_needed_but_for_health_and_page(small):
    """A wrong one is none."""
    for path, status in (("/health", 200), ("/ready", 200), ("/", 200), ("/metrics", 401)):
        assert httpx.get(f"{small.url}{path}").status_code == status
    with pytest.raises(openai.AuthenticationError) as told:
        small.client(api_key="wrong").models.list()
    assert told.value.code == "invalid_api_key"
    assert small.client(api_key="another").models.list().data


def test_a_client_that_leaves_frees_its_place(small):
    """The engine has nothing to do any more, and the next one is answered."""
    with streamed(small):
        until(small, f'ovrecipe_requests_running{{model="{MODEL}"}} 1.0')
    asked = {**LONG, "max_tokens": 2}
    assert small.client().chat.completions.create(**asked).choices[0].finish_reason == "length"
    until(small, f'ovrecipe_cancelled_total{{model="{MODEL}"}} 1.0')


def test_a_client_that_leaves_before_its_answer_frees_its_place(small):
    """One that does not stream, so nothing is sent that would fail."""
    headers = {"authorization": f"Bearer {KEY}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{small.url}/v1/chat/completions",
            json=LONG_BODY,
            headers=headers,
            timeout=httpx.Timeout(HANGS_SECONDS, read=0.5),
        )
    asked = {**LONG, "max_tokens": 2}
    assert small.client().chat.completions.create(**asked).choices[0].finish_reason == "length"


def test_a_client_that_leaves_the_queue_frees_its_place_there(small):
    """Before its answer has begun."""
    running = f'ovrecipe_requests_running{{model="{MODEL}"}} 1.0'
    waiting = f'ovrecipe_requests_waiting{{model="{MODEL}"}}'
    with streamed(small):
        until(small, running)
        with connected(small, LONG_BODY):
            until(small, f"{waiting} 1.0")
        until(small, f"{waiting} 0.0")
        assert in_metrics(small, running)


@pytest.mark.parametrize("sent", [0.1, 0.5, 1.0])
def test_a_client_that_leaves_with_its_request_half_sent_leaves_nothing(small, sent):
    """In the header, in the body, and as soon as all is sent.

    The last one may have the one place of the queue for a moment, so the next is asked again.
    """
    with connected(small, LONG_BODY, part=sent):
        pass
    patient = small.client().with_options(max_retries=5)
    answer = patient.chat.completions.create(**{**LONG, "max_tokens": 2})
    assert answer.choices[0].finish_reason == "length"


def test_a_full_queue_tells_when_to_come_back(small):
    """429 with Retry-After; the one that waits is answered."""
    with streamed(small):
        waiting = []
        thread = threading.Thread(
            target=lambda: waiting.append(
                small.client().chat.completions.create(**{**LONG, "max_tokens": 2})
            )
        )
        thread.start()
        until(small, f'ovrecipe_requests_waiting{{model="{MODEL}"}} 1.0')
        with pytest.raises(openai.RateLimitError) as told:
            small.client().chat.completions.create(**LONG)
        assert told.value.response.headers["retry-after"] == "1"
    thread.join()
    assert waiting[0].choices[0].finish_reason == "length"


def test_an_engine_that_dies_is_started_again(small):
    """Whoever was answered is told in the stream; soon the next one is."""
    stream = streamed(small)
    before = small.engine
    before.kill()
    with stream, pytest.raises(openai.APIError, match="ended with exit code -9"):
        list(stream)
    while httpx.get(f"{small.url}/ready").status_code != 200:
        pass
    assert small.engine.pid != before.pid
    asked = {**LONG, "max_tokens": 2}
    assert small.client().chat.completions.create(**asked).choices[0].finish_reason == "length"


def test_told_to_end_it_answers_what_it_has_taken(small):
    """And takes nothing new; this is the last test of this server."""
    body = {**LONG, "max_tokens": 150}
    stream = small.client().chat.completions.create(
        stream=True, extra_body={"ignore_eos": True}, **body
    )
    next(stream)
    engine = small.engine
    waiting = []
    thread = threading.Thread(
        target=lambda: waiting.append(
            small.client().chat.completions.create(**{**LONG, "max_tokens": 5})
        )
    )
    thread.start()
    until(small, f'ovrecipe_requests_waiting{{model="{MODEL}"}} 1.0')
    small.process.send_signal(signal.SIGTERM)
    chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"
    thread.join()
    assert waiting[0].usage.completion_tokens == 5
    assert small.process.wait(HANGS_SECONDS) == 0
    assert not engine.is_running()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{small.url}/health")


def test_models_take_turns_in_memory(serve):
    """One at a time here: who is asked is loaded, and who was idle makes room."""
    other = "smollm2-135m:int8"
    served = serve(MODEL, other, "--max-loaded", "1", "--idle-unload", "1", OVRECIPE_API_KEYS=KEY)
    states = httpx.get(f"{served.url}/health").json()["models"]
    assert states == {MODEL: "ready", other: "unloaded"}
    asked = {**LONG, "model": other, "max_tokens": 2}
    # Who leaves while it is loaded keeps nobody from it.
    with connected(served, asked):
        while httpx.get(f"{served.url}/health").json()["models"][other] == "unloaded":
            assert served.process.poll() is None
    assert served.client().chat.completions.create(**asked).model == other
    states = httpx.get(f"{served.url}/health").json()["models"]
    assert states == {MODEL: "unloaded", other: "ready"}
    with pytest.raises(openai.NotFoundError, match="smollm2-135m"):
        served.client().chat.completions.create(**{**asked, "model": "smollm2-135m"})
    while httpx.get(f"{served.url}/health").json()["models"][other] != "unloaded":
        assert served.process.poll() is None
    assert httpx.get(f"{served.url}/ready").status_code == 200
    assert served.client().chat.completions.create(**asked).model == other
