"""What the built-in frontends write."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest

from ovrecipe.builtin.frontends import ConsoleFrontend, JsonFrontend, JsonlFrontend, QuietFrontend
from ovrecipe.errors import RunError
from ovrecipe.hooks.roles import Console
from ovrecipe.testing import FakeGeneration, shown


class CountingStream(io.StringIO):
    """A stream that notes what was there at each flush."""

    def __init__(self):
        super().__init__()
        self.flushed = []

    def flush(self):
        self.flushed.append(self.getvalue())


@pytest.mark.parametrize("frontend", [ConsoleFrontend(), QuietFrontend()])
@pytest.mark.parametrize("segments", [["a ", "b"], ["a b\n"], ["a ", "b", "\n"]])
def test_text_ends_with_one_new_line(frontend, segments):
    """As every text that other tools read."""
    assert shown(frontend, FakeGeneration(segments)).out == "a b\n"


def test_the_console_writes_each_segment_at_once():
    """A stream that waits in a buffer is none."""
    out = CountingStream()
    ConsoleFrontend().show(FakeGeneration(["a ", "b"]), Console(out=out, err=io.StringIO()))
    assert out.flushed == ["a ", "a b", "a b\n"]


def test_quiet_writes_nothing_when_the_answer_fails():
    """Half an answer would be taken for a whole one."""
    out = io.StringIO()
    with pytest.raises(RunError, match="gone"):
        QuietFrontend().show(
            FakeGeneration(fail=RunError("gone")), Console(out=out, err=io.StringIO())
        )
    assert out.getvalue() == ""


def test_jsonl_is_one_object_a_line_in_ascii():
    """Whatever the pipe's encoding; new lines in the text do not end a line."""
    out = shown(JsonlFrontend(), FakeGeneration(["é\n", "你"])).out
    assert out.isascii()
    first, second, result = map(json.loads, out.splitlines())
    assert first == {"event": "segment", "text": "é\n"}
    assert second == {"event": "segment", "text": "你"}
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
        "prompt 5 tokens, on FAKE]\n"
    )


class CutGeneration(FakeGeneration):
    """An answer that reached its limit, sampled."""

    @property
    def result(self):
        return replace(super().result, finish_reason="length", seed=17)


def test_an_answer_that_was_cut_says_so():
    """On the other stream: it is no part of the answer."""
    said = shown(ConsoleFrontend(), CutGeneration())
    assert said.out == shown(ConsoleFrontend()).out
    assert said.err == "[cut after 3 tokens; --max-new-tokens N for more]\n"
    assert shown(ConsoleFrontend()).err == ""


@pytest.mark.parametrize("frontend", [ConsoleFrontend(), QuietFrontend(), JsonlFrontend()])
def test_the_seed_is_one_of_the_figures(frontend):
    """With it a sampled answer can be had again."""
    assert ", seed 17, on FAKE]" in shown(frontend, CutGeneration(), stats=True).err


def test_jsonl_has_seed_and_reason():
    """Programs need both, cut or not."""
    result = json.loads(shown(JsonlFrontend(), CutGeneration()).out.splitlines()[-1])
    assert (result["seed"], result["finish_reason"]) == (17, "length")


def test_a_terminal_that_cannot_say_a_letter_gets_a_question_mark():
    """An answer must not end in a UnicodeEncodeError."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    ConsoleFrontend().show(FakeGeneration(["caf", "é 你"]), Console(out=out, err=io.StringIO()))
    assert out.buffer.getvalue() == b"caf? ?\n"
