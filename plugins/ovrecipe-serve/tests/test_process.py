"""What is heard of an engine's process, in whatever order it comes."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest
from ovrecipe_serve.metrics import Metrics
from ovrecipe_serve.process import LONGEST_LINE, Asking, EngineProcess, Job

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
            return asking.begins_inside, [await asking.delta() for _ in DELTAS]

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


#: A worker without a model: it is ready at once, and says nothing but too long a line if told to.
WORKER = f"""
import sys
print('{{"event": "ready"}}', flush=True)
for line in sys.stdin:
    if "too long" in line:
        print("x" * {LONGEST_LINE + 1}, flush=True)
"""


@pytest.fixture
def engine(tmp_path):
    """The process of a worker without a model."""
    package = tmp_path / "ovrecipe_serve"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(WORKER)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return EngineProcess(Job("x", "CPU"), env=env, announce=print, metrics=Metrics())


def test_who_waits_for_an_answer_is_told_that_the_model_was_let_go_of(engine):
    """Nobody else would end their waiting."""

    async def check():
        await engine.load()
        with engine.tokenize("?") as asking:
            await engine.unload()
            with pytest.raises(EngineFailed, match="x was let go of"):
                await asyncio.wait_for(asking.result(), 20)

    asyncio.run(check())


def test_a_model_that_is_let_go_of_while_its_process_starts_ends_with_it(engine):
    """It would stay in memory, and nobody would know of it."""

    async def check():
        loading = asyncio.create_task(engine.load())
        await asyncio.sleep(0)
        assert engine.state == "loading"
        await engine.unload()
        with pytest.raises(EngineFailed, match="ended with exit code"):
            await asyncio.wait_for(loading, 20)
        assert engine.state == "unloaded"

    asyncio.run(check())


def test_a_line_that_is_too_long_ends_the_process_which_is_started_again(engine):
    """Who waits is told; the next one is answered."""

    async def check():
        await engine.load()
        heard = pytest.raises(EngineFailed, match="x: the engine's process cannot be heard")
        with engine.tokenize("too long") as asking, heard:
            await asyncio.wait_for(asking.result(), 20)
        assert engine.state == "loading"
        await engine.load()
        assert engine.state == "ready"
        await engine.unload()

    asyncio.run(check())


def test_a_process_that_cannot_be_started_is_told_and_tried_again():
    """Here it is given more than a process can have."""
    too_much = {"ANYTHING": "x" * 2**22}
    engine = EngineProcess(Job("x", "CPU"), env=too_much, announce=print, metrics=Metrics())

    async def check():
        for _ in range(2):
            with pytest.raises(EngineFailed, match="x: the engine's process cannot be heard"):
                await asyncio.wait_for(engine.load(), 20)
            assert engine.state == "unloaded"

    asyncio.run(check())
