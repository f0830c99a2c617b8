"""The loop of `ovrecipe chat`, line by line."""

from __future__ import annotations

import io
import json
import re
import threading
from types import SimpleNamespace

import pytest

from ovrecipe.cli.chat_command import HELP, ChatLoop, lines_of
from ovrecipe.errors import PromptRefused, RunError
from ovrecipe.hooks.roles import Console
from ovrecipe.testing import FakePipeline, plugins_with
from tests.run.fakes import recipe, runner


class Conversation:
    """A loop over a fake model, and what it wrote."""

    def __init__(self, model, *, interactive=True):
        self.chat = model.chat()
        self.console = Console(out=io.StringIO(), err=io.StringIO())
        frontend = plugins_with().provider("frontend", "console", recipe())
        self.loop = ChatLoop(self.chat, frontend, self.console, interactive=interactive)

    def say(self, *lines):
        self.loop.run(iter(lines))
        return self

    @property
    def out(self):
        return self.console.out.getvalue()

    @property
    def err(self):
        return self.console.err.getvalue()


def test_lines_are_answered_in_turn():
    """Blank ones are not asked."""
    pipeline = FakePipeline(pieces=["yes"])
    with runner(pipeline) as model:
        said = Conversation(model).say("one", "  ", "two")
    assert said.out == "yes\nyes\n"
    assert pipeline.prompts[1].startswith("Q: one\nA:yes\n")


def test_exit_leaves():
    """Like Ctrl-D."""
    with runner() as model:
        assert Conversation(model).say("/exit", "one").out == ""


def test_reset_forgets_and_stats_switches_figures_on():
    """Both for what follows."""
    pipeline = FakePipeline(pieces=["yes"])
    with runner(pipeline) as model:
        said = Conversation(model).say("one", "/reset", "/stats", "two", "/stats", "three")
    assert pipeline.prompts[1] == "Q: two\nA:"
    assert said.err.count("tokens/s") == 1


def test_a_slash_can_be_said_twice():
    """Paths begin with one."""
    pipeline = FakePipeline()
    with runner(pipeline) as model:
        said = Conversation(model).say("//etc/fstab is what?", "/etc/fstab")
    assert pipeline.prompts == ["Q: /etc/fstab is what?\nA:"]
    assert "there is no /etc/fstab" in said.err


def test_a_command_with_a_word_too_many_is_not_obeyed():
    """`/reset the counter` is a question about a counter; nothing is forgotten for it."""
    with runner(FakePipeline(pieces=["yes"])) as model:
        said = Conversation(model).say("one", "/reset x", "/exit now", "/stats  on", "two")
    assert len(said.chat.history) == 4
    assert "/reset stands alone; //reset x says it" in said.err
    assert "/exit stands alone; //exit now says it" in said.err
    assert "tokens/s" not in said.err


def test_spaces_around_a_command_do_not_make_it_a_question():
    """A line that was pasted brings them."""
    pipeline = FakePipeline()
    with runner(pipeline) as model:
        said = Conversation(model).say("one", "  /reset ", " /exit", "two")
    assert said.chat.history == ()
    assert len(pipeline.prompts) == 1


def test_help_lists_what_there_is():
    """Every command, and none that is not obeyed."""
    listed = {line.split()[0] for line in HELP.splitlines() if re.match(r"/\w", line)}
    assert listed == {"/help", "/reset", "/stats", "/save", "/exit"}
    with runner() as model:
        assert HELP in Conversation(model).say("/help").err
        for command in listed:
            assert "there is no" not in Conversation(model).say(command).err


def test_save_writes_the_conversation(tmp_path):
    """As messages that other tools read; a folder that is not there is told, not raised."""
    target = tmp_path / "talk.json"
    with runner(FakePipeline(pieces=["é"])) as model:
        said = Conversation(model).say("one", f"/save {target}", f"/save {tmp_path}/no/x", "/save")
    assert json.loads(target.read_text(encoding="utf-8")) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "é"},
    ]
    assert "No such file" in said.err
    assert "say where" in said.err


def test_an_error_of_one_turn_does_not_end_a_conversation_at_a_terminal():
    """The user reads it and says something else."""
    pipeline = FakePipeline(fail=RunError("gone"))
    with runner(pipeline) as model:
        said = Conversation(model).say("one")
        pipeline.fail = None
        said.say("two")
    assert "gone" in said.err
    assert len(said.chat.history) == 2


def test_an_error_of_one_turn_ends_a_piped_conversation():
    """A script must see it."""
    with runner(FakePipeline(fail=RunError("gone"))) as model:
        conversation = Conversation(model, interactive=False)
        with pytest.raises(RunError, match="gone"):
            conversation.say("one", "two")


def test_ctrl_c_stops_the_answer_and_not_the_conversation():
    """The part that was shown is remembered."""
    pipeline = FakePipeline(pieces=["a", "b"], gate=threading.Semaphore(0))

    class Interrupted(io.StringIO):
        def flush(self):
            raise KeyboardInterrupt

    with runner(pipeline) as model:
        conversation = Conversation(model)
        console = Console(out=Interrupted(), err=conversation.console.err)
        conversation.loop.console = console
        pipeline.gate.release()
        conversation.say("one")
        pipeline.gate.release(9)
        assert "(stopped)" in conversation.err
        assert [message["content"] for message in conversation.chat.history] == ["one", "a"]


def test_ctrl_c_at_the_prompt_says_how_to_leave():
    """None stands for it."""
    with runner() as model:
        assert "Ctrl-D leaves" in Conversation(model).say(None).err


def piped(data):
    return SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(data))


def test_piped_lines_may_end_as_on_windows_and_begin_with_a_mark():
    """Editors there write both."""
    assert list(lines_of(piped(b"\xef\xbb\xbfone\r\ntwo"))) == ["one", "two"]


def test_a_piped_line_that_is_no_text_is_named():
    """By its number."""
    with pytest.raises(PromptRefused, match="stdin, line 2: not UTF-8"):
        list(lines_of(piped(b"one\n\xff\n")))
