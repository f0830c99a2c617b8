"""The queue of the page without a page: order, reloading, stopping, failing."""

from __future__ import annotations

import copy
import threading

import pytest
from conftest import gated
from ovrecipe_gradio.engine import MOST_WAITING, Engine
from ovrecipe_gradio.session import Session
from ovrecipe_gradio.turn import Choice, Question, State

from ovrecipe.errors import RunError
from ovrecipe.testing import FakePipeline, fake_chat

INT4, INT8 = Choice("int4", "FAKE"), Choice("int8", "FAKE")


@pytest.fixture
def started():
    """Return an engine around a fake model; `others` are variants that it can load."""
    engines = []

    def start(pipeline=None, **others):
        runner = fake_chat(pipeline, others=others).runner
        engine = Engine(lambda choice, announce: runner.variants.load(choice.variant))
        engine.adopt(runner)
        engines.append(engine)
        return engine

    yield start
    for made in engines:
        made.close()


def ended(turn):
    while not turn.over:
        turn.wait_for_change(0.05)
    return turn


def answering(turn):
    while turn.state is not State.ANSWERING:
        turn.wait_for_change(0.05)
    return turn


def test_an_answer_has_text_and_the_runners_figures(started):
    """The page shows what the runner measured, nothing of its own."""
    turn = ended(started().submit(INT4, Question("hi")))
    assert (turn.state, turn.text) == (State.DONE, "The answer.")
    assert turn.result.metrics.ttft_ms == 20.0


def test_turns_are_served_in_the_order_asked(started):
    """Fair means first come, first served, and everybody knows how many come before."""
    pipeline = gated("a")
    engine = started(pipeline)
    turns = [engine.submit(INT4, Question(text)) for text in ("one", "two", "three")]
    answering(turns[0])
    assert [engine.ahead_of(turn) for turn in turns] == [0, 1, 2]
    turns[1].stop()
    assert engine.ahead_of(turns[2]) == 1, "one that left takes no time"
    pipeline.gate.release(2)
    assert [ended(turn).state for turn in turns] == [State.DONE, State.STOPPED, State.DONE]
    assert pipeline.prompts == ["User: one\n", "User: three\n"]


def test_another_choice_frees_the_model_and_loads_the_other(started):
    """Memory may not hold two, and the answer has to come from what the page shows."""
    first = FakePipeline()
    engine = started(first, int8=lambda: FakePipeline(["int8"]))
    assert ended(engine.submit(INT8, Question("who?"))).text == "int8"
    assert first.closed
    assert engine.choice == INT8


def test_a_load_that_fails_fails_its_turn_only(started):
    """The next turn loads again, so a page is never stuck with no model."""

    def fails():
        raise RunError("no memory")

    engine = started(FakePipeline(), int8=fails)
    turn = ended(engine.submit(INT8))
    assert (turn.state, str(turn.error), engine.choice) == (State.FAILED, "no memory", None)
    assert ended(engine.submit(INT4, Question("hi"))).text == "The answer."


@pytest.mark.parametrize("error", [RunError("gone"), ValueError("a defect"), SystemExit(3)])
def test_whatever_is_raised_ends_the_turn(started, error):
    """An error in the generating thread left the tutorial's page waiting for ever."""
    turn = ended(started(FakePipeline(["half "], fail=error)).submit(INT4, Question("hi")))
    assert (turn.state, turn.text, turn.error) == (State.FAILED, "half ", error)


def test_stopping_ends_the_generation(started):
    """The model is free for the next."""
    pipeline = gated(*"abcd")
    engine = started(pipeline)
    turn = answering(engine.submit(INT4, Question("hi")))
    turn.stop()
    pipeline.gate.release(1)
    assert ended(turn).state is State.STOPPED
    pipeline.gate.release(10)
    assert ended(engine.submit(INT4, Question("hi"))).text == "abcd"


def test_too_many_are_refused_and_told(started):
    """Each that waits holds a thread; Stop must still find one."""
    pipeline = gated("a")
    engine = started(pipeline)
    answering(engine.submit(INT4, Question("hi")))
    waiting = [engine.submit(INT4, Question("hi")) for _ in range(MOST_WAITING)]
    with pytest.raises(RunError, match=f"{MOST_WAITING} others are waiting"):
        engine.submit(INT4, Question("hi"))
    for turn in waiting:
        turn.stop()
    pipeline.gate.release()


def test_closing_stops_everything_and_frees_the_model(started):
    """Ctrl-C ends the program quickly, whoever waits."""
    pipeline = gated("a", "b")
    engine = started(pipeline)
    turns = [answering(engine.submit(INT4, Question("hi"))), engine.submit(INT4, Question("hi"))]
    # What the model is saying comes to its end only when the answer was stopped.
    threading.Thread(target=lambda: ended(turns[0]) and pipeline.gate.release()).start()
    engine.close()
    assert [ended(turn).state for turn in turns] == [State.STOPPED, State.STOPPED]
    assert pipeline.closed
    with pytest.raises(RunError, match="closing"):
        engine.submit(INT4)


def test_the_live_speed_counts_from_the_first_token_on():
    """Averages of 1/dt showed 52.6 where 10 was true; this one is tokens by seconds."""
    now = [0.0]
    pipeline = gated("abcd", "ef", "gh", "end")
    runner = fake_chat(pipeline).runner
    engine = Engine(lambda choice, announce: runner, clock=lambda: now[0])
    engine.adopt(runner)
    turn = answering(engine.submit(INT4, Question("hi")))
    paces = [turn.pace()]
    for seconds, text in ((5.0, "abcd"), (5.5, "abcdef"), (6.0, "abcdefgh")):
        pipeline.gate.release()
        while turn.text != text:
            turn.wait_for_change(0.02)
        now[0] = seconds
        paces.append(turn.pace())
    turn.stop()
    pipeline.gate.release()
    engine.close()
    assert [pace and (pace.tokens, pace.throughput) for pace in paces] == [
        None,
        (4, None),
        (6, 4.0),
        (8, 4.0),
    ]


def test_a_session_is_copied_as_a_new_one(started):
    """Gradio copies a state's first value for each browser; they must share nothing."""
    session = Session()
    session.begin(ended(started().submit(INT4, Question("secret"))))
    assert copy.deepcopy(session).turn is None
