"""The chat, as a user meets it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from ovrecipe.errors import RunError
from ovrecipe.testing import FakePipeline, fake_chat

SIZES = [(80, 24), (200, 50), (40, 12)]


def test_an_answer_is_streamed_and_its_figures_are_the_models_own(at_the_screen, gate):
    """They come from GenAI when it has ended, so nothing is shown before."""
    pipeline = FakePipeline(["**Paris**", " it is."], gate=gate)

    async def steps(user):
        await user.asks("where?")
        await user.sees_state("answering")
        gate.release()
        await user.sees(lambda: user.answers == ["**Paris**"])
        await user.sees_figures("…")
        gate.release()
        await user.sees_figures("2 tokens · first after 20 ms · 142.0 tokens/s · prompt 13 tokens")
        await user.sees_state("ready")
        assert user.answers == ["**Paris** it is."]
        assert user.questions == ["where?"]

    at_the_screen(fake_chat(pipeline), steps)


def test_escape_stops_the_answer_and_keeps_what_was_shown(at_the_screen, gate):
    """So that `go on` means something."""
    chat = fake_chat(FakePipeline(["one ", "two ", "three"], gate=gate))

    async def steps(user):
        await user.asks("count")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("escape")
        gate.release(2)
        await user.sees_figures("stopped")
        assert user.answers == ["one "]
        gate.release(3)
        await user.asks("go on")
        await user.sees_figures("3 tokens")

    at_the_screen(chat, steps)
    assert [message["content"] for message in chat.history] == [
        "count",
        "one ",
        "go on",
        "one two three",
    ]


def test_ctrl_c_stops_too(at_the_screen, gate):
    """It does on the console, and nobody wants to lose the screen by it."""
    chat = fake_chat(FakePipeline(["one ", "two"], gate=gate))

    async def steps(user):
        await user.asks("count")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("ctrl+c")
        gate.release()
        await user.sees_figures("stopped")

    at_the_screen(chat, steps)


def test_an_error_of_the_model_is_shown_and_the_question_can_be_sent_again(at_the_screen):
    """It stands in the line of the text again; the failed turn left no trace."""
    pipeline = FakePipeline(["half"], fail=RunError("the device is gone", remedy="plug it in"))
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("hello")
        await user.sees(lambda: len(user.failures) == 1)
        await user.sees(lambda: "plug it in" in user.screen_text)
        await user.sees_figures("failed")
        assert user.written == "hello"
        pipeline.fail = None
        await user.pilot.press("enter")
        await user.sees_figures("1 tokens")

    at_the_screen(chat, steps)
    assert len(chat.history) == 2


def test_a_defect_somewhere_below_is_shown_with_its_traceback(at_the_screen):
    """A plugin's filter may raise anything; the screen goes on."""
    pipeline = FakePipeline(["half"], fail=ZeroDivisionError("oh"))

    async def steps(user):
        await user.asks("hello")
        await user.sees(lambda: len(user.failures) == 1)
        await user.sees(lambda: "ZeroDivisionError: oh" in user.screen_text)
        pipeline.fail = None
        await user.pilot.press("enter")
        await user.sees_figures("1 tokens")

    at_the_screen(fake_chat(pipeline), steps)


def test_another_variant_is_chosen_and_goes_on_with_the_conversation(at_the_screen):
    """The first line says what answers; what is not built is listed and cannot be chosen."""
    chat = fake_chat(FakePipeline(["one"]), others={"int8": lambda: FakePipeline(["two"])})

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("1 tokens")
        await user.pilot.press("ctrl+o")
        await user.sees(lambda: "● int4      86 MB" in user.screen_text)
        assert "fp16  not built" in user.screen_text
        await user.pilot.press("down", "enter")
        await user.sees(lambda: len(user.notices) == 1)
        assert user.notices[0].startswith("sample:int8 on FAKE, loaded in ")
        assert user.model == "sample:int8 on FAKE"
        await user.asks("b")
        await user.sees(lambda: user.answers == ["one", "two"])

    at_the_screen(chat, steps)


def test_loading_is_visible_and_nothing_can_be_sent_meanwhile(at_the_screen):
    """A large model takes its time."""
    may_load = threading.Event()

    def loaded() -> FakePipeline:
        may_load.wait()
        return FakePipeline()

    async def steps(user):
        await user.pilot.press("ctrl+o", "down", "enter")
        await user.sees_state("loading int8")
        await user.asks("hello")
        await user.is_told("loading int8")
        assert user.written == "hello"
        may_load.set()
        await user.sees_state("ready")
        await user.pilot.press("enter")
        await user.sees_figures("3 tokens")

    at_the_screen(fake_chat(others={"int8": loaded}), steps)


def test_a_variant_that_does_not_load_is_told_and_the_one_before_answers(at_the_screen):
    """It was loaded again."""

    def fails() -> FakePipeline:
        raise RunError("no memory")

    async def steps(user):
        await user.pilot.press("ctrl+o", "down", "enter")
        await user.sees(lambda: len(user.failures) == 1 and len(user.notices) == 1)
        assert user.model == "sample:int4 on FAKE"
        await user.asks("hello")
        await user.sees_figures("3 tokens")

    at_the_screen(fake_chat(others={"int8": fails}), steps)


def test_a_switch_while_answering_stops_the_answer_first(at_the_screen, gate):
    """One thing at a time, and the user need not know which."""
    chat = fake_chat(FakePipeline(["one ", "two"], gate=gate), others={"int8": FakePipeline})

    async def steps(user):
        await user.asks("a")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("ctrl+o", "down", "enter")
        gate.release()
        await user.sees_figures("stopped")
        await user.sees(lambda: user.model == "sample:int8 on FAKE")

    at_the_screen(chat, steps)


def test_a_new_conversation_forgets_also_while_answering(at_the_screen, gate):
    """The answer that was coming is not remembered either."""
    pipeline = FakePipeline(["one ", "two"], gate=gate)
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("a")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("ctrl+n")
        gate.release()
        await user.sees(lambda: not user.questions)
        await user.sees_state("ready")
        assert chat.history == ()
        gate.release(2)
        await user.asks("b")
        await user.sees_figures("2 tokens")

    at_the_screen(chat, steps)
    assert pipeline.prompts[-1] == "User: b\n"


def test_ctrl_q_leaves_while_answering(at_the_screen, gate):
    """At once: the answer is cancelled, not waited for."""
    pipeline = FakePipeline(["one "] * 1000, gate=gate)
    chat = fake_chat(pipeline)

    async def steps(user):
        await user.asks("a")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        await user.pilot.press("ctrl+q")
        await user.sees(lambda: not user.app.is_running)
        gate.release()

    at_the_screen(chat, steps)
    assert pipeline.closed


def test_a_screen_that_fails_does_not_wait_for_the_answer(at_the_screen, gate):
    """Whatever ends the screen ends the answer, too."""
    pipeline = FakePipeline(["one "] * 1000, gate=gate)

    async def steps(user):
        await user.asks("a")
        gate.release()
        await user.sees(lambda: user.answers == ["one "])
        user.app.call_later(lambda: 1 / 0)
        await user.sees(lambda: not user.app.is_running)
        gate.release()

    with pytest.raises(ZeroDivisionError, match="division"):
        at_the_screen(fake_chat(pipeline), steps)


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+d", "ctrl+q"])
def test_the_usual_keys_leave_when_nothing_is_answered(at_the_screen, key):
    """Nobody should have to look for the way out."""

    async def steps(user):
        await user.pilot.press(key)
        await user.sees(lambda: not user.app.is_running)

    at_the_screen(fake_chat(), steps)


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+d"])
def test_they_leave_after_an_answer_too(at_the_screen, key, monkeypatch):
    """The conversation is over when the user says so."""
    monkeypatch.setattr("ovrecipe_tui.screen.GRACE_SECONDS", 0.0)

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.pilot.press(key)
        await user.sees(lambda: not user.app.is_running)

    at_the_screen(fake_chat(), steps)


def test_ctrl_c_that_comes_too_late_to_stop_does_not_leave(at_the_screen, monkeypatch):
    """It was meant for the answer, which ended by itself; a second one is meant."""
    monkeypatch.setattr("ovrecipe_tui.screen.GRACE_SECONDS", 3600.0)

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.pilot.press("ctrl+c")
        await user.is_told("The answer has ended")
        assert user.app.is_running
        await user.pilot.press("ctrl+c")
        await user.sees(lambda: not user.app.is_running)

    at_the_screen(fake_chat(), steps)


def test_with_a_text_ctrl_c_clears_and_ctrl_d_deletes(at_the_screen):
    """As in a shell: nobody loses the screen by mending a line."""

    async def steps(user):
        await user.pilot.press(*"abc", "home", "ctrl+d")
        await user.sees(lambda: user.written == "bc")
        await user.pilot.press("ctrl+c")
        await user.sees(lambda: user.written == "")
        assert user.app.is_running

    at_the_screen(fake_chat(), steps)


@pytest.mark.parametrize("dialog", ["ctrl+o", "ctrl+s"])
def test_ctrl_c_goes_back_from_a_dialog(at_the_screen, dialog):
    """It ends what is in front."""

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.pilot.press(dialog)
        await user.sees(lambda: "Esc goes back" in user.screen_text)
        await user.pilot.press("ctrl+c")
        await user.sees(lambda: "Esc goes back" not in user.screen_text)
        assert user.app.is_running

    at_the_screen(fake_chat(), steps)


def test_ctrl_c_while_loading_says_how_to_leave(at_the_screen):
    """Loading cannot be stopped, and the conversation should not end by an attempt."""
    may_load = threading.Event()

    def loaded() -> FakePipeline:
        may_load.wait()
        return FakePipeline()

    async def steps(user):
        await user.pilot.press("ctrl+o", "down", "enter")
        await user.sees_state("loading int8")
        await user.pilot.press("ctrl+c")
        await user.is_told("loading int8; Ctrl+Q leaves")
        may_load.set()
        await user.sees_state("ready")

    at_the_screen(fake_chat(others={"int8": loaded}), steps)


def test_what_was_asked_is_brought_back_with_the_arrows(at_the_screen):
    """As in a shell, and within several lines they move the cursor."""

    async def steps(user):
        for text in ("one", "two"):
            await user.asks(text)
            await user.sees_state("ready")
        await user.pilot.press("up", "up")
        await user.sees(lambda: user.written == "one")
        await user.pilot.press("down")
        await user.sees(lambda: user.written == "two")
        await user.pilot.press("down")
        await user.sees(lambda: user.written == "")
        await user.pilot.press("a", "ctrl+j", "b", "up", "x")
        await user.sees(lambda: user.written == "ax\nb")

    at_the_screen(fake_chat(), steps)


def test_a_blank_text_is_not_sent(at_the_screen):
    """There is nothing to answer."""

    async def steps(user):
        await user.pilot.press("space", "enter", "enter")
        await user.pilot.pause()
        assert user.questions == []

    at_the_screen(fake_chat(), steps)


@pytest.mark.parametrize("name", ["talk.md", "talk.json"])
def test_the_conversation_is_saved(at_the_screen, tmp_path, name):
    """As Markdown for people, as JSON for programs."""
    chat = fake_chat(FakePipeline(["yes"]))

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("1 tokens")
        await user.pilot.press("ctrl+s")
        await user.sees(lambda: "sample-int4-1.md" in user.screen_text)
        await user.pilot.press("ctrl+u", "ctrl+k", *name, "enter")
        await user.is_told("Saved as")

    at_the_screen(chat, steps)
    saved = (tmp_path / name).read_text(encoding="utf-8")
    if name.endswith("json"):
        assert json.loads(saved) == list(chat.history)
    else:
        assert saved == "# sample:int4 on FAKE\n\n**You**\n\na\n\n**Model**\n\nyes\n"


def test_a_file_that_is_there_is_not_overwritten(at_the_screen, tmp_path: Path):
    """The reason is shown below the name, and another name can be given."""
    (tmp_path / "old.md").write_text("mine", encoding="utf-8")

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.pilot.press("ctrl+s", "ctrl+u", "ctrl+k", *"old.md", "enter")
        await user.sees(lambda: "old.md: File exists" in user.screen_text)
        await user.pilot.press("escape")

    at_the_screen(fake_chat(), steps)
    assert (tmp_path / "old.md").read_text(encoding="utf-8") == "mine"


def test_the_conversation_is_copied_and_an_empty_one_is_not(at_the_screen):
    """Through the terminal, so it works over ssh."""

    async def steps(user):
        await user.pilot.press("ctrl+g")
        await user.is_told("Nothing was said yet")
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.pilot.press("ctrl+g")
        await user.sees(lambda: "**Model**\n\nThe answer." in user.app.clipboard)

    at_the_screen(fake_chat(), steps)


def test_light_and_dark(at_the_screen):
    """Whatever is used around the terminal."""

    async def steps(user):
        before = user.app.current_theme.dark
        await user.pilot.press("ctrl+t")
        assert user.app.current_theme.dark is not before
        await user.pilot.press("ctrl+t")
        assert user.app.current_theme.dark is before

    at_the_screen(fake_chat(), steps)


@pytest.mark.parametrize("size", SIZES)
def test_it_fits(at_the_screen, size):
    """A usual terminal, a wide one, and a corner of one."""

    async def steps(user):
        await user.asks("a")
        await user.sees_figures("3 tokens")
        await user.sees(lambda: "The answer." in user.screen_text)
        assert "sample:int4" in user.screen_text
        assert "esc Stop" in user.screen_text

    at_the_screen(fake_chat(), steps, size=size)


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        (80, "^q Quit  esc Stop  ^n New  ^o Variant  ^s Save  ^g Copy  ^t Theme"),
        (60, "^q Quit esc Stop ^n New ^o Variant ^s Save ^g Copy ^t Theme"),
        (24, "^q Quit esc Stop"),
    ],
)
def test_the_keys_are_named_and_the_way_out_first(at_the_screen, columns, keys):
    """The footer is the help, and what does not fit is cut at its right end."""

    async def steps(user):
        await user.sees(lambda: keys in user.screen_text)

    at_the_screen(fake_chat(), steps, size=(columns, 20))


def test_tags_and_line_breaks_of_an_answer_are_kept(at_the_screen):
    """Markdown would drop the first and join the others."""
    pipeline = FakePipeline(["a <b> c\nroses are red [bold]\n\n<div>x</div>"])

    async def steps(user):
        await user.asks("[red]1[/red]")
        await user.sees(lambda: "a <b> c\n" in user.screen_text.replace("  ", ""))
        await user.sees(lambda: "roses are red [bold]" in user.screen_text)
        await user.sees(lambda: "<div>x</div>" in user.screen_text)
        assert "[red]1[/red]" in user.screen_text

    at_the_screen(fake_chat(pipeline), steps)


def test_what_is_printed_meanwhile_is_shown_and_spoils_nothing(at_the_screen):
    """A model that runs without paged attention says so on stderr."""
    import sys

    async def steps(user):
        print("ovrecipe: SDPA is used", file=sys.stderr)
        await user.is_told("SDPA is used")

    at_the_screen(fake_chat(), steps)
