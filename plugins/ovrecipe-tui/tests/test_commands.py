"""The commands that begin with a slash, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ovrecipe_tui.commands import ALONE, HELP, Command, command_in, question_in, text_that_asks

from ovrecipe.cli.chat_command import HELP as CONSOLE_HELP
from ovrecipe.errors import RunError
from ovrecipe.testing import FakePipeline, fake_chat


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/help", Command("help", "")),
        ("/save my talk.md", Command("save", "my talk.md")),
        ("/save  talk.md ", Command("save", "talk.md")),
        ("/save\ntalk.md", Command("save", "talk.md")),
        ("//help", None),
        ("help", None),
        ("a /help", None),
    ],
)
def test_a_text_is_a_command_or_a_question(text, command):
    """One slash commands, two ask."""
    assert command_in(text) == command


@pytest.mark.parametrize("text", ["a", "//etc", "a//b"])
def test_a_question_is_written_again_as_it_was(text):
    """So that a failed one can be sent once more."""
    assert text_that_asks(question_in(text)) == text


def test_help_is_shown_and_the_model_is_not_asked(at_the_screen):
    """Each line of it whole, also in sixty columns."""
    pipeline = FakePipeline()
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("/help")
        for line in HELP.splitlines():
            await user.sees(lambda line=line: line in user.screen_text)
        assert user.written == ""

    at_the_screen(chat, steps, size=(60, 20))
    assert pipeline.prompts == []
    assert chat.history == ()


def commands_of(help_text):
    """Return what stands before the explanations, two spaces or more."""
    lines = [line for line in help_text.splitlines() if line.startswith("/")]
    return [line.partition("  ")[0] for line in lines]


def test_help_has_every_command():
    """Those of `ovrecipe chat`, so that nobody learns two sets."""
    assert commands_of(HELP) == commands_of(CONSOLE_HELP)
    assert {f"/{name}" for name in ALONE} < {*commands_of(HELP)}


def test_help_is_no_part_of_the_conversation(at_the_screen, tmp_path: Path):
    """Nor is any other command: neither the model nor a transcript sees it."""
    chat = fake_chat(FakePipeline(["yes"]))

    async def steps(user):
        await user.asks("/help")
        await user.asks("a")
        await user.sees_figures("1 tokens")
        await user.asks("/save talk.json")
        await user.is_told("Saved as")

    at_the_screen(chat, steps)
    saved = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert [message["content"] for message in saved] == ["a", "yes"]


def test_reset_forgets(at_the_screen):
    """As Ctrl-N does."""
    pipeline = FakePipeline(["yes"])
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("1 tokens")
        await user.asks("/reset")
        await user.sees(lambda: not user.questions)
        assert chat.history == ()
        await user.asks("b")
        await user.sees_figures("1 tokens")

    at_the_screen(chat, steps)
    assert pipeline.prompts[-1] == "User: b\n"


def test_stats_hides_the_figures_and_shows_them_again(at_the_screen):
    """Of the answers that follow."""

    async def steps(user):
        await user.asks("/stats")
        await user.is_told("Figures off")
        await user.asks("a")
        await user.sees(lambda: user.answers == ["The answer."])
        await user.sees_state("ready")
        assert "tokens" not in user.screen_text
        await user.asks("/stats")
        await user.is_told("Figures on")
        await user.asks("b")
        await user.sees_figures("3 tokens")

    at_the_screen(fake_chat(), steps)


def test_without_figures_a_stopped_answer_is_still_told_from_a_whole_one(at_the_screen, gate):
    """That it was stopped is no figure."""

    async def steps(user):
        await user.asks("/stats")
        await user.asks("count")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("escape")
        gate.release()
        await user.sees_figures("stopped")
        assert "tokens" not in user.screen_text

    at_the_screen(fake_chat(FakePipeline(["one ", "two"], gate=gate)), steps)


def test_save_writes_the_conversation(at_the_screen, tmp_path: Path):
    """As Markdown, in the folder in which the program runs."""

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("1 tokens")
        await user.asks("/save my talk.md")
        await user.is_told("Saved as")

    at_the_screen(fake_chat(FakePipeline(["yes"])), steps)
    text = (tmp_path / "my talk.md").read_text(encoding="utf-8")
    assert text.endswith("**You**\n\na\n\n**Model**\n\nyes\n")


def test_save_without_a_name_asks_for_one(at_the_screen):
    """As Ctrl-S does."""

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.asks("/save")
        await user.sees(lambda: "sample-int4-1.md" in user.screen_text)

    at_the_screen(fake_chat(), steps)


def test_a_file_that_is_there_is_not_overwritten_and_the_command_can_be_mended(
    at_the_screen, tmp_path: Path
):
    """The reason is shown, and the command stands in the line."""
    (tmp_path / "old.md").write_text("mine", encoding="utf-8")

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.asks("/save old.md")
        await user.is_told("old.md: File exists")
        await user.sees(lambda: user.written == "/save old.md")

    at_the_screen(fake_chat(), steps)
    assert (tmp_path / "old.md").read_text(encoding="utf-8") == "mine"


def test_a_home_of_nobody_is_told(at_the_screen):
    """The screen goes on."""

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.asks("/save ~nobody-of-this-name/a.md")
        await user.is_told("home directory")

    at_the_screen(fake_chat(), steps)


def test_nothing_is_saved_before_something_was_said(at_the_screen, tmp_path: Path):
    """An empty file would look like a lost conversation."""

    async def steps(user):
        await user.asks("/save talk.md")
        await user.is_told("Nothing was said yet")

    at_the_screen(fake_chat(), steps)
    assert not (tmp_path / "talk.md").exists()


def test_exit_leaves_while_answering(at_the_screen, gate):
    """At once: the answer is cancelled, not waited for."""
    pipeline = FakePipeline(["one "] * 1000, gate=gate)

    async def steps(user):
        await user.asks("a")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.asks("/exit")
        await user.sees(lambda: not user.app.is_running)
        gate.release()

    at_the_screen(fake_chat(pipeline), steps)


def test_an_unknown_command_is_not_sent_and_can_be_mended(at_the_screen):
    """A slip of the finger is no question."""
    pipeline = FakePipeline()

    async def steps(user):
        await user.asks("/hlep me")
        await user.is_told("there is no /hlep; /help lists what there is, //hlep says it")
        await user.sees(lambda: user.written == "/hlep me")

    at_the_screen(fake_chat(pipeline), steps)
    assert pipeline.prompts == []


@pytest.mark.parametrize("text", ["/reset the counter", "/exit now", "/stats  on", "/help me"])
def test_a_command_with_a_word_too_many_is_not_obeyed(at_the_screen, text):
    """`/reset the counter` is a question about a counter; nothing is forgotten for it."""
    pipeline = FakePipeline(["yes"])
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("one")
        await user.sees_figures("1 tokens")
        await user.asks(text)
        await user.is_told(f"{text.split()[0]} stands alone; /{text} says it")
        await user.sees(lambda: user.written == text)
        assert user.app.is_running
        assert "show this" not in user.screen_text

    at_the_screen(chat, steps)
    assert len(chat.history) == 2
    assert len(pipeline.prompts) == 1


def test_two_slashes_ask_the_model_about_one(at_the_screen):
    """Paths and commands can be talked about; a failed question is brought back as written."""
    pipeline = FakePipeline(["yes"], fail=RunError("the device is gone"))
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("//etc?")
        await user.sees_figures("failed")
        await user.sees(lambda: user.written == "//etc?")
        pipeline.fail = None
        await user.pilot.press("enter")
        await user.sees_figures("1 tokens")
        assert user.questions == ["/etc?", "/etc?"]

    at_the_screen(chat, steps)
    assert chat.history[0]["content"] == "/etc?"


def test_a_command_during_an_answer_does_not_take_its_place(at_the_screen, gate):
    """When the answer fails, the question is brought back, not what was sent last."""
    pipeline = FakePipeline(["half"], gate=gate, fail=RunError("the device is gone"))

    async def steps(user):
        await user.asks("hello")
        await user.asks("/stats")
        await user.is_told("Figures off")
        gate.release(2)
        await user.sees_figures("failed")
        await user.sees(lambda: user.written == "hello")

    at_the_screen(fake_chat(pipeline), steps)
