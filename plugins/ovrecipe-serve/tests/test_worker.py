"""What an engine's process makes of its orders, without a model."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from ovrecipe_serve.metrics import Metrics
from ovrecipe_serve.process import EngineProcess, Job
from ovrecipe_serve.worker import Worker

from ovrecipe.run.openai.requests import ChatRequest, CompletionRequest, read_request

# The engine without a model is that of the repository's own tests.
sys.path.append(str(Path(__file__).parents[3]))

#: How many ask during one step, and within how many steps all must grow: a step waits 0.1 s, in
#: which those that take 3 ms each are let in.
COUNT, STEPS = 30, 3
SCHEMA = {"type": "object", "properties": {"a": {"type": "null"}}}


class Told(EngineProcess):
    """Returns what a process would be told."""

    def _order(self, op, **order):
        return {"op": op, "id": 1, **order}


def order_of(kind, **body):
    """Return what a process is told of a request."""
    question = read_request(kind, {"model": "x", **body}).question()
    return Told(Job("x", "CPU"), env={}, announce=print, metrics=Metrics()).ask(question)


def accepted(order, template):
    """Return what a worker says when it has taken an order."""
    from tests.run.fakes import engine, recipe

    said = []
    events = SimpleNamespace(send=lambda event, **of: said.append({"event": event, **of}))
    worker = Worker(events)
    forms = SimpleNamespace(check=lambda _: None)
    given = recipe(prompt={"template": template})
    with engine(recipe=given, forms=forms) as worker.engine:
        worker.obey(order)
    return said[0]


def test_a_prompt_is_sent_once_however_many_answers_it_has():
    """128 times a long one would be half a gigabyte in one line."""
    order = order_of(CompletionRequest, prompt=["one", "two"], n=2, seed=1)
    assert order["prompts"] == ["one", "two"]
    seeds = [(place, generation["rng_seed"]) for place, generation in order["asks"]]
    assert seeds == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert accepted(order, "{instruction}")["begins_inside"] == [False] * 4


@pytest.mark.parametrize(("form", "begins"), [({}, True), ({"json_schema": SCHEMA}, False)])
def test_an_answer_of_a_form_is_no_reasoning(form, begins):
    """Even if the template has begun it: the form has no place for any."""
    asked = {"messages": [{"role": "user", "content": "Hi"}], "n": 2}
    if form:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    found = accepted(order_of(ChatRequest, **asked), "{instruction}<think>")
    assert found["begins_inside"] == [begins] * 2


def test_what_is_asked_during_a_step_begins_with_the_next(monkeypatch):
    """A step holds Python's lock, so whoever has to wait for it gets in one or two a step."""
    from tests.run.fakes import FakeBatching, engine, recipe

    orders, server = os.pipe()
    hold = ctypes.PyDLL(None).usleep  # as GenAI's step, it keeps the lock
    grown, enough = [], threading.Event()

    class Holding(FakeBatching):
        def encode(self, *args, **options):
            hold(3_000)
            return super().encode(*args, **options)

        def step(self):
            if not grown:
                lines = [{**order, "id": number} for number in range(2, COUNT + 1)]
                os.write(server, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
            hold(20_000)
            super().step()
            grown.append(len(worker.engine._running))
            if len(grown) == STEPS:
                enough.set()

    order = order_of(CompletionRequest, prompt="one", max_tokens=8, seed=1)
    worker = Worker(SimpleNamespace(send=lambda *_, **__: None))
    pipeline = Holding("yes, yes")
    pipeline.most_at_once = COUNT
    made = engine(pipeline, recipe=recipe(), after_step=worker._after_step)
    monkeypatch.setattr(worker, "_load", lambda _: made)
    reading = threading.Thread(target=worker.serve, args=({},), kwargs={"orders": orders})
    reading.start()
    os.write(server, json.dumps(order).encode() + b"\n")
    assert enough.wait(60)
    os.close(server)
    reading.join()
    made.close()
    assert max(grown[:STEPS]) == COUNT, grown
