"""What the built-in frontends write."""

from __future__ import annotations

import io
import json
import threading

import pytest

from ovrecipe.builtin.frontends import ConsoleFrontend, JsonFrontend, JsonlFrontend, QuietFrontend
from ovrecipe.errors import RunError
from ovrecipe.hooks.roles import Console
from ovrecipe.testing import FakePipeline, fake_chat, shown


class CountingStream(io.StringIO):
    """A stream that notes what was there at each flush, and lets the next piece come."""

    def __init__(self, gate):
        super().__init__()
        self.flushed = []
        self.gate = gate

    def flush(self):
        self.flushed.append(self.getvalue())
        self.gate.release()


def answer_of(*pieces, **pipeline):
    """Return an answer that comes in these pieces."""
    return fake_chat(FakePipeline(pieces, **pipeline)).stream("What is it?")


def cut_answer():
    """Return an answer that reached its limit, sampled."""
    return fake_chat().stream("What is it?", max_new_tokens=2, temperature=0.5, rng_seed=17)


@pytest.mark.parametrize("frontend", [ConsoleFrontend(), QuietFrontend()])
@pytest.mark.parametrize("segments", [["a ", "b"], ["a b\n"], ["a ", "b", "\n"]])
def test_text_ends_with_one_new_line(frontend, segments):
    """As every text that other tools read."""
    assert shown(frontend, answer_of(*segments)).out == "a b\n"


def test_the_console_writes_each_segment_at_once():
    """A stream that waits in a buffer is none."""
    gate = threading.Semaphore(1)
    out = CountingStream(gate)
    console = Console(out=out, err=io.StringIO())
    ConsoleFrontend().show(answer_of("a ", "b", gate=gate), console)
    assert out.flushed == ["a ", "a b", "a b\n"]


def test_quiet_writes_nothing_when_the_answer_fails():
    """Half an answer would be taken for a whole one."""
    out = io.StringIO()
    with pytest.raises(RunError, match="gone"):
        QuietFrontend().show(
            answer_of("half", fail=RunError("gone")), Console(out=out, err=io.StringIO())
        )
    assert out.getvalue() == ""


def test_jsonl_is_one_object_a_line_in_ascii():
    """Whatever the pipe's encoding; new lines in the text do not end a line."""
    out = shown(JsonlFrontend(), answer_of("é\n", "你")).out
    assert out.isascii()
    *segments, result = map(json.loads, out.splitlines())
    assert {segment["event"] for segment in segments} == {"segment"}
    assert "".join(segment["text"] for segment in segments) == "é\n你"
    assert result["event"] == "result"
    assert result["text"] == "é\n你"
    assert result["finish_reason"] == "stop"
    assert result["metrics"]["ttft_ms"] == 20.0


@pytest.mark.parametrize(
    "frontend", [ConsoleFrontend(), QuietFrontend(), JsonFrontend(), JsonlFrontend()]
)
def test_figures_are_one_line_on_the_other_stream(frontend):
    """Pipes carry answers only."""
    with_stats = shown(frontend, stats=True)
    assert with_stats.out == shown(frontend).out
    assert with_stats.err == (
        "[stop after 3 tokens, first token 20 ms, then 7.0 ms per token, 142.0 tokens/s, "
        "prompt 18 tokens, on FAKE]\n"
    )


def test_an_answer_that_was_cut_says_so():
    """On the other stream: it is no part of the answer."""
    said = shown(ConsoleFrontend(), cut_answer())
    assert said.out == "The answer\n"
    assert said.err == "[cut after 2 tokens; --max-new-tokens N for more]\n"
    assert shown(ConsoleFrontend()).err == ""


@pytest.mark.parametrize("frontend", [ConsoleFrontend(), QuietFrontend(), JsonlFrontend()])
def test_the_seed_is_one_of_the_figures(frontend):
    """With it a sampled answer can be had again."""
    assert ", seed 17, on FAKE]" in shown(frontend, cut_answer(), stats=True).err


def test_jsonl_has_seed_and_reason():
    """Programs need both, cut or not."""
    result = json.loads(shown(JsonlFrontend(), cut_answer()).out.splitlines()[-1])
    assert (result["seed"], result["finish_reason"]) == (17, "length")


def test_a_terminal_that_cannot_say_a_letter_gets_a_question_mark():
    """An answer must not end in a UnicodeEncodeError."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    ConsoleFrontend().show(answer_of("caf", "é 你"), Console(out=out, err=io.StringIO()))
    assert out.buffer.getvalue() == b"caf? ?\n"
