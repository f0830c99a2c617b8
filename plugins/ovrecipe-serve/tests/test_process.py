"""What is heard of an engine's process, in whatever order it comes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from ovrecipe_serve.process import Asking

from ovrecipe.errors import EngineFailed

ACCEPTED = {"event": "accepted", "id": 1, "begins_inside": [True]}
DELTAS = [{"id": 1, "index": 0, "text": text, "tokens": 1} for text in "ab"]


def heard(*events):
    """Return what a request makes of events: what its prompt has begun, and the deltas."""

    async def listen():
        with Asking(SimpleNamespace(leave=lambda _: None), 1) as asking:
            for event in events:
                asking.heard.put_nowait(event)
            await asking.accepted()
            found = []
            async for delta in asking.deltas():
                found.append(delta)
                if len(found) == len(DELTAS):
                    break
            return asking.begins_inside, found

    return asyncio.run(listen())


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_engine_may_answer_before_it_says_that_it_has_taken_a_request(at):
    """A small model has a step done before the thread that took the request goes on."""
    assert heard(*DELTAS[:at], ACCEPTED, *DELTAS[at:]) == ([True], DELTAS)


def test_a_failure_before_that_is_raised():
    """Whatever came of the answer is lost."""
    failed = {"id": 1, "error": {"kind": "EngineFailed", "message": "gone", "remedy": None}}
    with pytest.raises(EngineFailed, match="gone"):
        heard(DELTAS[0], failed)
