"""Conversations: what is remembered, and what is not."""

from __future__ import annotations

import threading

import pytest

from ovrecipe.builtin.filters import stop_at
from ovrecipe.errors import NotBuilt, PromptRefused, RunError
from ovrecipe.testing import FakePipeline, fake_chat
from tests.filters.test_chain import chain_of
from tests.run.fakes import runner


def gated(pieces):
    return FakePipeline(pieces=pieces, gate=threading.Semaphore(0))


def cut_after_one_piece(model, pipeline):
    """Return a conversation whose reader left its first answer after one piece."""
    chat = model.chat()
    pipeline.gate.release()
    for _ in chat.stream("one"):
        break
    pipeline.gate.release(9)
    return chat


def test_every_answer_sees_the_turns_before():
    """That is what makes it a conversation."""
    pipeline = FakePipeline(pieces=[" yes"])
    with runner(pipeline) as model:
        chat = model.chat()
        chat.generate("one")
        chat.generate("two")
    assert pipeline.prompts[1] == "Q: one\nA: yes\nQ: two\nA:"
    assert [message["role"] for message in chat.history] == ["user", "assistant"] * 2


def test_reset_forgets():
    """A new subject needs no new process."""
    pipeline = FakePipeline()
    with runner(pipeline) as model:
        chat = model.chat()
        chat.generate("one")
        chat.reset()
        chat.generate("two")
    assert pipeline.prompts[1] == "Q: two\nA:"


def test_a_failed_turn_leaves_no_trace():
    """So that it can be tried again."""
    pipeline = FakePipeline(pieces=["a"], fail=RunError("gone"))
    with runner(pipeline) as model:
        chat = model.chat()
        with pytest.raises(RunError, match="gone"):
            chat.generate("one")
        assert chat.history == ()
        pipeline.fail = None
        chat.generate("one")
    assert pipeline.prompts == ["Q: one\nA:"] * 2


def test_a_cancelled_turn_is_kept_as_far_as_it_was_shown():
    """`go on` then means something."""
    pipeline = gated(["a", "b", "c"])
    with runner(pipeline) as model:
        chat = cut_after_one_piece(model, pipeline)
        assert [message["content"] for message in chat.history] == ["one", "a"]
        chat.generate("two")
    assert pipeline.prompts[1] == "Q: one\nA:a\nQ: two\nA:"


def test_a_turn_cancelled_before_anything_was_shown_is_dropped():
    """An empty answer would teach the model to be silent."""
    pipeline = gated(["a"])
    with runner(pipeline) as model:
        chat = model.chat()
        answer = chat.stream("one")
        answer.cancel()
        pipeline.gate.release(2)
        assert chat.generate("two").text == "a"
        assert [message["content"] for message in chat.history] == ["two", "a"]


def test_a_second_question_while_the_answer_runs_is_refused():
    """It could not know what was answered."""
    pipeline = gated(["a"])
    with runner(pipeline) as model:
        chat = model.chat()
        answer = chat.stream("one")
        with pytest.raises(RunError, match="still running"):
            chat.stream("two")
        pipeline.gate.release()
        list(answer)


def test_a_refused_instruction_leaves_no_trace():
    """The conversation goes on after it."""
    with runner() as model:
        chat = model.chat()
        with pytest.raises(PromptRefused, match="empty"):
            chat.generate(" ")
        assert chat.generate("one").text == "The answer."


def test_history_cannot_be_changed_through_what_is_returned():
    """The prompt of the next turn is the chat's own."""
    with runner() as model:
        chat = model.chat()
        chat.generate("one")
        chat.history[0]["content"] = "spoilt"
        assert chat.history[0]["content"] == "one"


def test_parameters_of_the_conversation_count_for_each_answer():
    """A frontend of a plugin gets those of the command line that way."""
    pipeline = FakePipeline()
    with runner(pipeline) as model:
        chat = model.chat(max_new_tokens=2, greedy=True)
        chat.generate("one")
        chat.generate("two", max_new_tokens=1)
    assert [config["max_new_tokens"] for config in pipeline.configs] == [2, 1]
    assert [config["do_sample"] for config in pipeline.configs] == [False, False]


def test_another_variant_goes_on_with_the_turns():
    """One question, two models: that is what a switch is for."""
    first, other = FakePipeline(["one"]), FakePipeline(["two"])
    chat = fake_chat(first, others={"int8": lambda: other})
    chat.generate("a")
    chat.switch("int8")
    assert chat.generate("b").text == "two"
    assert (chat.runner.variant, first.closed) == ("int8", True)
    assert other.prompts == ["User: a\none\nUser: b\n"]
    assert set(chat.variants()) == {"int4", "int8"}


def test_a_variant_that_does_not_load_leaves_the_one_before():
    """It is loaded again: memory may not hold both at a time."""

    def fails():
        raise RunError("no memory")

    chat = fake_chat(FakePipeline(["one"]), others={"int8": fails})
    with pytest.raises(RunError, match="no memory"):
        chat.switch("int8")
    assert (chat.runner.variant, chat.generate("a").text) == ("int4", "one")


def test_a_variant_that_is_not_built_changes_nothing():
    """The model in use is not even freed."""
    pipeline = FakePipeline()
    chat = fake_chat(pipeline)
    with pytest.raises(NotBuilt, match=r"sample:int2 is not built\n.*ovrecipe build sample:int2"):
        chat.switch("int2")
    assert not pipeline.closed


def test_a_switch_cancels_a_running_answer():
    """What was shown of it is kept."""
    pipeline = gated(["a", "b"])
    chat = fake_chat(pipeline, others={"int8": FakePipeline})
    answer = chat.stream("x")
    pipeline.gate.release()
    segments = iter(answer)
    assert next(segments) == "a"
    pipeline.gate.release(2)
    chat.switch("int8")
    assert list(segments) == []
    assert chat.generate("y").finish_reason == "stop"


def test_closing_a_conversation_frees_the_model_in_use():
    """Whichever it is by then."""
    other = FakePipeline()
    chat = fake_chat(others={"int8": lambda: other})
    chat.switch("int8")
    chat.close()
    assert other.closed


def for_the_eyes(pieces, options):
    """A filter for display only, which changes nothing."""
    yield from pieces


for_the_eyes.display_only = True


def test_a_cancelled_turn_forgets_what_filters_held_back():
    """With a filter for display only, the history is filtered anew; it must not end by itself."""
    pipeline = gated(["az", "b"])
    filters = chain_of((stop_at, {"markers": ["zzz"]}), (for_the_eyes, {}))
    with runner(pipeline, filters=filters) as model:
        chat = cut_after_one_piece(model, pipeline)
        assert [message["content"] for message in chat.history] == ["one", "a"]


def test_closing_waits_until_the_conversation_knows_of_the_end():
    """Or the next prompt is asked without the turn before."""
    order, told, go_on = [], threading.Event(), threading.Event()

    def on_end(answer, result):
        told.set()
        go_on.wait(10)
        order.append("told")

    with runner() as model:
        answer = model.stream_messages(model.conversation("one"), on_end=on_end)
        reader = threading.Thread(target=lambda: list(answer))
        reader.start()
        told.wait(10)
        other = threading.Thread(target=lambda: (answer.close(), order.append("closed")))
        other.start()
        other.join(0.2)
        go_on.set()
        reader.join()
        other.join()
    assert order == ["told", "closed"]
