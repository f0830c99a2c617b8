"""Streaming, cancelling, failing: with a pipeline that says what the test tells it to."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ovrecipe.errors import PluginError, RunError
from ovrecipe.run.chain import FilterChain
from ovrecipe.testing import FakePipeline
from tests.run.fakes import plugin_filter, runner


class BreaksAtTheThird:
    """An output filter with a defect."""

    fed = 0

    def feed(self, text):
        self.fed += 1
        if self.fed == 3:
            raise KeyError("oops")
        return text

    def finish(self):
        return ""


def gated(*, pieces=("a ", "b ", "c ", "d ")):
    return FakePipeline(pieces=pieces, gate=threading.Semaphore(0))


def test_segments_joined_are_the_text():
    """`generate` is the loop over the stream, nothing else."""
    with runner() as model:
        streamed = "".join(model.stream("hi"))
        result = model.generate("hi")
    assert streamed == result.text == "The answer."
    assert result.finish_reason == "stop"
    assert result.generated_tokens == 3
    assert result.prompt_tokens == len("Q: hi\nA:")
    assert result.metrics.ttft_ms == 20.0


def test_text_is_given_out_before_the_answer_is_whole():
    """The first word must not wait for the last."""
    pipeline = gated()
    with runner(pipeline) as model:
        segments = iter(model.stream("hi"))
        pipeline.gate.release()
        assert next(segments) == "a "
        pipeline.gate.release(3)
        assert "".join(segments) == "b c d "


def test_tokens_are_counted_while_the_answer_comes():
    """A live figure has to be true too, so hidden text counts and nothing is estimated."""
    pipeline = gated(pieces=("abc", "de"))
    counted = []

    def hides(pieces, options):
        for text in pieces:
            if text == "abc":
                counted.append(answer.tokens_so_far())
                pipeline.gate.release()
            yield ""

    with runner(pipeline, filters=FilterChain([plugin_filter(hides)])) as model:
        answer = model.stream("hi")
        assert answer.tokens_so_far() in (0, None)
        pipeline.gate.release()
        assert list(answer) == []
        assert answer.tokens_so_far() is None
    assert counted == [3]


def test_no_result_while_it_runs():
    """A half result would be taken for a whole one."""
    pipeline = gated()
    with runner(pipeline) as model:
        answer = model.stream("hi")
        with pytest.raises(RunError, match="still running"):
            _ = answer.result
        pipeline.gate.release(4)
        list(answer)
        assert answer.result.text == "a b c d "


def test_an_error_in_the_generating_thread_is_raised_in_the_loop():
    """The tutorial's page waited for ever (defect 5); the text so far is shown."""
    pipeline = FakePipeline(pieces=["a"], fail=RunError("the device went away"))
    shown = []
    with runner(pipeline) as model:
        answer = model.stream("hi")
        with pytest.raises(RunError, match="the device went away"):
            shown.extend(answer)
        assert shown == ["a"]
        with pytest.raises(RunError, match="failed"):
            _ = answer.result


def test_the_generation_after_an_error_works():
    """One failure must not wedge the queue."""
    pipeline = FakePipeline(fail=ValueError("a bug"))
    with runner(pipeline) as model:
        with pytest.raises(ValueError, match="a bug"):
            model.generate("hi")
        pipeline.fail = None
        assert model.generate("hi").text == "The answer."


def test_cancel_from_another_thread_ends_the_loop_at_once():
    """Stop means now, even while the model says nothing: here it never would."""
    pipeline = gated()
    model = runner(pipeline)
    answer = model.stream("hi")
    segments = iter(answer)
    pipeline.gate.release()
    assert next(segments) == "a "
    threading.Thread(target=answer.cancel).start()
    assert list(segments) == [], "it ends while the model has three more pieces to say"
    assert answer.result.finish_reason == "cancelled"
    assert answer.result.text == "a "
    assert answer.result.metrics is None
    pipeline.gate.release(9)
    model.close()


def test_leaving_the_loop_cancels():
    """A `break` says that nobody wants the rest."""
    pipeline = gated(pieces=["a"] * 50)
    with runner(pipeline) as model:
        pipeline.gate.release(2)
        answer = model.stream("hi")
        for _ in answer:
            break
        pipeline.gate.release(50)
        assert answer.result.finish_reason == "cancelled"
        assert list(answer) == []


def test_leaving_the_with_block_cancels():
    """So does an exception in the caller's own code."""
    pipeline = gated(pieces=["a"] * 50)
    with runner(pipeline) as model:
        with model.stream("hi") as answer:
            pipeline.gate.release(50)
        assert answer.result.finish_reason == "cancelled"


def test_an_answer_that_nobody_holds_is_cancelled():
    """Otherwise the next one waits for it."""
    pipeline = gated(pieces=["a"] * 50)
    with runner(pipeline) as model:
        model.stream("hi")
        pipeline.gate.release(50)
        assert model.generate("hi", max_new_tokens=1).text == "a"


def test_answers_come_in_the_order_asked_and_one_at_a_time():
    """`LLMPipeline.generate` raises when two call it at once; callers queue instead."""
    pipeline = gated(pieces=["a"])
    with runner(pipeline) as model:
        answers = [model.stream(f"number {number}") for number in range(8)]
        threads = [threading.Thread(target=list, args=(answer,)) for answer in answers]
        for thread in threads:
            thread.start()
        pipeline.gate.release(8)
        for thread in threads:
            thread.join()
    assert pipeline.prompts == [f"Q: number {number}\nA:" for number in range(8)]
    assert pipeline.most_at_once == 1


def test_an_answer_cancelled_while_it_waits_is_never_generated():
    """Its caller has left."""
    pipeline = gated(pieces=["a"])
    with runner(pipeline) as model:
        first, second = model.stream("one"), model.stream("two")
        second.cancel()
        assert list(second) == []
        pipeline.gate.release(2)
        assert list(first) == ["a"]
    assert pipeline.prompts == ["Q: one\nA:"]


def test_a_broken_filter_ends_the_answer_and_is_named():
    """Text that a filter should have changed must not be shown."""
    pipeline = gated(pieces=["a"] * 50)
    chosen = FilterChain([plugin_filter(BreaksAtTheThird)])
    with runner(pipeline, filters=chosen) as model:
        answer = iter(model.stream("hi"))
        for _ in range(2):
            pipeline.gate.release()
            next(answer)
        pipeline.gate.release()
        with pytest.raises(PluginError, match=r"'mine' of plugin 'theirs' .* raised KeyError"):
            next(answer)
        pipeline.gate.release(50)
    assert pipeline.closed


def test_closing_ends_what_runs_and_what_waits():
    """`with` leaves no thread behind."""
    pipeline = gated(pieces=["a"] * 50)
    model = runner(pipeline)
    answers = [model.stream("one"), model.stream("two")]
    pipeline.gate.release(50)
    model.close()
    assert [answer.result.finish_reason for answer in answers] == ["cancelled", "cancelled"]
    assert pipeline.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "ovrecipe-generate"]
    with pytest.raises(RunError, match="the model was closed"):
        model.stream("three")


def test_no_thread_stays_when_nothing_is_asked():
    """A program that forgets to close must still be able to end."""
    model = runner()
    model.generate("hi")
    for thread in threading.enumerate():
        if thread.name == "ovrecipe-generate":
            thread.join()
    assert "ovrecipe-generate" not in [thread.name for thread in threading.enumerate()]


def test_many_short_pieces_come_whole_and_in_order():
    """Segments are gathered while the reader waits; nothing may be lost or swapped."""
    pieces = [f"{number} " for number in range(5000)]
    with runner(FakePipeline(pieces=pieces)) as model:
        segments = list(model.stream("hi"))
    assert "".join(segments) == "".join(pieces)
    assert len(segments) < len(pieces)


def test_a_program_that_leaves_its_answer_ends():
    """Nobody reads any more; a hundred seconds of text are not waited for."""
    code = (
        "import time\n"
        "from ovrecipe.testing import FakePipeline, fake_chat\n"
        "class Slow:\n"
        "    def acquire(self): time.sleep(0.01)\n"
        "answer = fake_chat(FakePipeline(['a'] * 10_000, gate=Slow())).stream('hi')\n"
        "waiting = answer._task.segments.get()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_generation_knows_what_was_asked_and_what_answers():
    """Frontends show it; they see nothing else of the conversation."""
    with runner(FakePipeline(["a"])) as model:
        chat = model.chat()
        chat.generate("first")
        answer = chat.stream("second")
        list(answer)
    assert (answer.question, answer.recipe.name, answer.variant) == ("second", "fake", "int4")
    assert [message["content"] for message in answer.messages] == ["first", "a", "second"]
