"""Many answers at once: order, room, cancelling, failures, filters; without a model."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from ovrecipe.errors import (
    EngineBusy,
    EngineFailed,
    PluginError,
    PromptRefused,
    PromptTooLong,
    RunError,
)
from ovrecipe.run.chain import FilterChain
from ovrecipe.run.load import check_batches
from tests.run.fakes import FakeBatching, engine, plugin_filter


def upper(pieces, options):
    """Show everything in capitals, and a mark at the end."""
    for piece in pieces:
        yield piece.upper()
    yield "!"


def broken(pieces, options):
    """Break the contract in the middle."""
    for _ in pieces:
        raise ValueError("no")
    yield ""


def test_an_answer_comes_as_text_with_its_counts():
    """As from a runner, but for GenAI's figures, which the fake has none of."""
    with engine() as model:
        answer = model.stream("What?", max_new_tokens=5)
        assert "".join(answer) == "yes"
    result = answer.result
    assert (result.text, result.finish_reason) == ("yes", "stop")
    assert (result.prompt_tokens, result.generated_tokens) == (len("Q: What?\nA:"), 3)


def test_the_prompt_is_the_one_of_a_runner():
    """The recipe's template, or the text itself where no conversation is asked."""
    pipeline = FakeBatching()
    with engine(pipeline) as model:
        model.stream("What?").result  # noqa: B018 - read to its end
        model.stream_messages("as it is").result  # noqa: B018
        model.stream_messages([72, 105]).result  # noqa: B018
    assert pipeline.prompts == ["Q: What?\nA:", "as it is", "Hi"]


def test_requests_of_several_threads_are_answered_together():
    """A step computes all of them; nobody waits for the one before."""
    pipeline = FakeBatching("a long answer", gate=threading.Semaphore(0))
    with engine(pipeline) as model:
        answers = [model.stream(f"{number}") for number in range(5)]
        # The first step may have begun with the first of them alone.
        pipeline.gate.release(100)
        assert {answer.result.text for answer in answers} == {"a long a"}
    assert pipeline.most >= 4


def test_a_limit_ends_an_answer_with_length():
    """And says so."""
    with engine() as model:
        assert model.stream("What?", max_new_tokens=2).result.finish_reason == "length"


def test_no_more_is_begun_than_has_room_to_end():
    """The cache of three answers: the fourth waits, and is answered."""
    pipeline = FakeBatching("yes", blocks=13, gate=threading.Semaphore(0))
    with engine(pipeline) as model:
        answers = [model.stream("?", max_new_tokens=8) for _ in range(4)]
        pipeline.gate.release(100)
        assert [answer.result.text for answer in answers] == ["yes"] * 4
    assert pipeline.most <= 3


def test_what_never_has_room_is_refused_at_once():
    """It would wait for ever."""
    with (
        engine(FakeBatching(blocks=3)) as model,
        pytest.raises(PromptTooLong, match="more than the 12 of the cache"),
    ):
        model.stream("What is it?")


def test_too_many_that_wait_are_refused():
    """Whoever asks is told, and can ask again."""
    pipeline = FakeBatching("yes", blocks=4, gate=threading.Semaphore(0))
    with engine(pipeline, most_waiting=1) as model:
        first = model.stream("?")
        while model.load.running == 0:
            pipeline.gate.release()
        second = model.stream("?")
        with pytest.raises(EngineBusy, match="1 requests wait already"):
            model.stream("?")
        pipeline.gate.release(100)
        assert (first.result.text, second.result.text) == ("yes", "yes")


def test_a_cancelled_answer_ends_and_gives_its_room_back():
    """The next one, which found none, is begun."""
    pipeline = FakeBatching("a long answer", blocks=4, gate=threading.Semaphore(0))
    with engine(pipeline) as model:
        first, second = model.stream("?"), model.stream("?")
        pipeline.gate.release()
        assert next(first) == "a"
        first.cancel()
        pipeline.gate.release(100)
        assert first.result.finish_reason == "cancelled"
        assert second.result.text == "a long a"
    assert pipeline.most == 1


def test_leaving_an_answer_cancels_it():
    """A block that is left, as for a runner."""
    pipeline = FakeBatching("a long answer")
    with engine(pipeline) as model:
        with model.stream("?") as answer:
            next(answer)
        assert answer.result.finish_reason in {"cancelled", "length"}


def test_a_request_that_genai_does_not_take_costs_no_other():
    """It is told, and the next is answered."""
    with engine() as model:
        refused, fine = model.stream("refused"), model.stream("?")
        with pytest.raises(RunError, match="does not take the request"):
            refused.result  # noqa: B018
        assert fine.result.text == "yes"


def test_a_step_that_fails_ends_all_answers_and_the_engine():
    """GenAI's pipeline never steps again; whoever waits is told, also who asks later."""
    with engine() as model:
        with pytest.raises(EngineFailed, match="poison"):
            model.stream("poison").result  # noqa: B018
        with pytest.raises(EngineFailed, match="poison"):
            model.stream("?")


def test_a_defect_on_the_stepping_thread_ends_nobody_in_waiting():
    """Those who wait are told, in place of waiting for ever."""

    class Defective(FakeBatching):
        def decode(self, rows, *, special=False):
            raise ZeroDivisionError("ours")

    with (
        engine(Defective()) as model,
        pytest.raises(EngineFailed, match="the engine broke: ZeroDivisionError: ours"),
    ):
        model.stream("?").result  # noqa: B018


def test_filters_see_the_text_as_it_comes():
    """Each request has fresh ones, and what they hold back comes in the end."""
    with engine(filters=FilterChain([plugin_filter(upper)])) as model:
        answers = [model.stream("?") for _ in range(2)]
        assert [list(answer) for answer in answers] == [["Y", "E", "S!"]] * 2


def test_a_filter_that_breaks_its_contract_costs_its_answer_alone():
    """It is blamed by name, and the engine goes on."""
    with engine(filters=FilterChain([plugin_filter(broken)])) as model:
        for _ in range(2):
            with pytest.raises(PluginError, match="mine"):
                model.stream("?").result  # noqa: B018


def test_a_prompt_that_is_refused_never_reaches_the_model():
    """As by a runner."""
    pipeline = FakeBatching()
    with engine(pipeline) as model, pytest.raises(PromptRefused, match="empty"):
        model.stream("  ")
    assert pipeline.prompts == []


def test_observers_are_told_of_every_answer():
    """As of those of a runner."""
    seen = []
    with engine(observe=seen.append) as model:
        model.stream("What?").result  # noqa: B018
    (told,) = seen
    assert (told.question, told.result.text, told.variant) == ("What?", "yes", "int4")


def test_logprobs_have_the_text_of_each_token():
    """As OpenAI's interface shows them."""
    deltas = []
    done = threading.Event()

    def deliver(delta):
        deltas.append(delta)
        if delta.last:
            done.set()

    with engine() as model:
        model.submit("?", deliver, logprobs=True)
        done.wait()
    assert [delta.logprobs for delta in deltas] == [[(one, -0.5)] for one in "yes"]


def test_a_closed_engine_refuses():
    """And frees the model."""
    pipeline = FakeBatching()
    model = engine(pipeline)
    model.close()
    assert pipeline.closed
    with pytest.raises(RunError, match="was closed"):
        model.stream("?")


def test_a_model_that_paged_attention_computes_wrongly_answers_no_batches():
    """Its build found it so; several answers take no other attention."""
    wrong = SimpleNamespace(attention_backend=lambda: "SDPA")
    with pytest.raises(RunError, match=r"mpt:int4: can answer one prompt at a time only"):
        check_batches("mpt:int4", wrong)
    check_batches("llama:int4", SimpleNamespace(attention_backend=lambda: "PA"))
