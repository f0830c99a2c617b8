"""Clients that leave, and that read slowly, without a model and without sockets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from ovrecipe_serve.answering import LEFT, Answering
from ovrecipe_serve.app import Server
from ovrecipe_serve.guard import Limits
from ovrecipe_serve.metrics import Metrics
from ovrecipe_serve.process import Asking
from starlette.requests import ClientDisconnect

from ovrecipe.run.openai.requests import CompletionRequest, read_request

RESULT = {"finish_reason": "stop", "prompt_tokens": 1, "generated_tokens": 2}
WHOLE = [
    {"event": "accepted", "id": 1},
    {"id": 1, "index": 0, "text": "a", "tokens": 1},
    {"id": 1, "index": 0, "text": "b", "tokens": 1, "result": RESULT},
]


def test_a_client_that_leaves_while_it_sends_is_no_defect():
    """Nobody is told, and nothing is in the log but the count."""

    async def leaves(_):
        raise ClientDisconnect

    answer = Server(None, Metrics(), Limits()).counted("/", leaves)
    assert asyncio.run(answer(None)).status_code == LEFT


def streamed(events, *, seconds, pause):
    """Return what a client reads of a stream that waits so long after its first event."""

    async def read():
        asking = Asking(SimpleNamespace(leave=lambda _: None), 1)
        for event in events:
            asking.heard.put_nowait(event)
        engine = SimpleNamespace(job=SimpleNamespace(model="x"), ask=lambda _: asking)
        asked = {"model": "x", "prompt": "?", "stream": True}
        question = read_request(CompletionRequest, asked).question()
        answering = Answering(question, engine, chat=False, metrics=Metrics(), seconds=seconds)
        request = SimpleNamespace(receive=asyncio.Event().wait)
        parts = []
        async for part in (await answering.respond(request)).body_iterator:
            parts.append(part.decode())
            if '"a"' in part.decode():
                await asyncio.sleep(pause)
        return "".join(parts)

    return asyncio.run(read())


def test_a_client_that_reads_slowly_gets_all_of_an_answer_that_came_in_time():
    """What limits the answer must not end who reads it."""
    assert streamed(WHOLE, seconds=0.1, pause=0.3).endswith("data: [DONE]\n\n")


def test_an_answer_that_does_not_come_in_time_is_told_as_the_last_event():
    """A stream has no status any more."""
    assert "the answer took too long" in streamed(WHOLE[:2], seconds=0.1, pause=0)
