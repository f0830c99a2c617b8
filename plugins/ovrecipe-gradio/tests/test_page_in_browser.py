"""The page as a user has it: a real browser, a real server, a model that says what it is told."""

from __future__ import annotations

from urllib.parse import urlparse

import pytest
from conftest import gated
from selenium.webdriver.common.keys import Keys

import ovrecipe
from ovrecipe.errors import RunError
from ovrecipe.run.chain import ChosenFilter
from ovrecipe.testing import FakePipeline, fake_chat, plugins_with

pytestmark = pytest.mark.browser


def test_an_answer_streams_and_ends_with_the_models_own_figures(site, tab):
    """The first words are there while the last are not, and the figures are GenAI's."""
    pipeline = gated("Paris ", "is ", "it.")
    tab.open(site(pipeline).url).ask("What is the capital?")
    pipeline.gate.release()
    tab.until(lambda: tab.response() == "Paris ")
    assert tab.state() == "answering"
    assert not tab.one("#submit").is_enabled()
    pipeline.gate.release(2)
    tab.until(lambda: tab.state() == "done")
    assert tab.response() == "Paris is it."
    tab.until(lambda: tab.figures()[0] == "measured")
    assert tab.figures()[1] == {"Tokens/s": "142.0", "First token": "20 ms", "Tokens": "3"}
    assert tab.one("#submit").is_enabled()


def test_figures_while_the_answer_comes_are_counted_and_say_so(site, tab):
    """The speed counts from the first token on, so the prompt's time is not in it."""
    pipeline = gated(*["word "] * 8)
    tab.open(site(pipeline).url).ask("Go on")
    for _ in range(4):
        pipeline.gate.release()
        tab.until(lambda: tab.figures()[0] == "live")
    tab.until(lambda: tab.figures()[1]["Tokens"] == "20")
    source, tiles = tab.figures()
    assert source == "live"
    assert tiles["First token"] == "\u2013"
    assert "so far" in tab.text("#performance .caption")
    tab.until(lambda: float(tab.figures()[1]["Tokens/s"]) > 0)
    pipeline.gate.release(4)


def test_stop_stops_the_model_and_keeps_what_was_said(site, tab):
    """Stop that only hides the text would leave the model busy for nobody."""
    pipeline = gated(*["word "] * 50)
    served = site(pipeline)
    tab.open(served.url).ask("Go on")
    pipeline.gate.release(2)
    tab.until(lambda: tab.response() == "word word ")
    tab.click("#stop")
    pipeline.gate.release(1)
    tab.until(lambda: tab.state() == "stopped")
    assert tab.response().startswith("word word ")
    assert not tab.one("#stop").is_enabled()
    pipeline.gate.release(100)
    tab.ask("Again")
    tab.until(lambda: tab.state() == "done")


def test_enter_asks_and_an_example_only_fills_the_box(site, tab):
    """Ten examples; a click on one must not make the model work before it was read."""
    pipeline = FakePipeline()
    tab.open(site(pipeline).url)
    assert len(tab.driver.find_elements("css selector", "#examples button.gallery-item")) == 10
    tab.click("#examples button.gallery-item")
    tab.until(lambda: tab.instruction() == "What is the capital of France?")
    assert tab.state() == "idle"
    tab.one("#instruction textarea").send_keys(Keys.ENTER)
    tab.until(lambda: tab.state() == "done")
    assert pipeline.prompts == ["User: What is the capital of France?\n"]


def test_the_controls_reach_the_model(site, tab):
    """A slider that changes nothing is worse than none."""
    pipeline = FakePipeline()
    tab.open(site(pipeline).url)
    number = tab.one("#max-new-tokens input[type=number]")
    number.send_keys(Keys.CONTROL, "a")
    number.send_keys("2", Keys.TAB)
    tab.ask("Hello")
    tab.until(lambda: tab.state() == "done")
    assert tab.response() == "The answer"
    assert pipeline.configs[-1] == {
        "max_new_tokens": 2,
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 1.0,
        "top_k": 0,
        "rng_seed": 0,
    }
    tab.click("#greedy input")
    tab.until(lambda: not tab.one("#temperature input[type=number]").is_enabled())
    tab.ask("Hello")
    tab.until(lambda: len(pipeline.configs) == 2 and tab.state() == "done")
    assert pipeline.configs[-1] == {"max_new_tokens": 2, "do_sample": False}


def test_a_switch_of_variant_loads_it_and_is_seen(site, tab):
    """While the other model loads the page says so, and the next answer is from it."""
    opened = gated("loaded")
    other = FakePipeline(pieces=["I am int8."])

    def slowly():
        opened.gate.acquire()
        return other

    served = site(FakePipeline(), int8=slowly)
    tab.open(served.url).choose("variant", "int8")
    tab.until(lambda: tab.state() == "loading" and "int8" in tab.status())
    assert not tab.one("#submit").is_enabled()
    opened.gate.release()
    tab.until(lambda: tab.state() == "done")
    assert "int8 on FAKE is loaded" in tab.status()
    assert "int8 on FAKE" in tab.text("#facts")
    assert "int8 was loaded for a test" in tab.text("#facts")
    tab.ask("Who are you?")
    tab.until(lambda: tab.response() == "I am int8." and tab.state() == "done")
    assert [each.variant for each in served.loaded] == ["int8"]


def test_a_model_that_does_not_load_is_an_error_on_the_page(site, tab):
    """And going back to the one that does is possible."""

    def fails():
        raise RunError("int8 cannot be loaded on FAKE: <no> memory", remedy="take int4")

    tab.open(site(FakePipeline(), int8=fails).url).choose("variant", "int8")
    tab.until(lambda: tab.state() == "failed")
    assert tab.problem() == "int8 cannot be loaded on FAKE: <no> memorytake int4"
    assert tab.one("#submit").is_enabled()
    tab.choose("variant", "int4")
    tab.until(lambda: tab.state() == "done" and not tab.problem())
    tab.ask("Hello")
    tab.until(lambda: tab.response() == "The answer.")


def test_an_error_in_the_middle_of_an_answer_ends_it_on_the_page(site, tab):
    """No endless spinner: the text so far, the error, and buttons that work again."""
    tab.open(site(FakePipeline(pieces=["Half "], fail=RunError("the device is gone"))).url)
    tab.ask("Hello")
    tab.until(lambda: tab.state() == "failed")
    assert tab.problem() == "the device is gone"
    assert tab.response() == "Half "
    assert tab.one("#submit").is_enabled()
    assert not tab.one("#stop").is_enabled()


class Breaks:
    """A plugin whose output filter raises in the middle of the stream."""

    options_model = None

    @ovrecipe.hookimpl
    def get_output_filter(self, name):
        return self if name == "breaks" else None

    def create(self, options):
        return self

    def feed(self, text):
        raise KeyError(text)

    def finish(self):
        return ""


def test_a_filter_that_raises_is_named_on_the_page(site, tab):
    """A plugin's defect is the plugin's, and the page goes on."""
    fake = fake_chat().runner
    template = type("Template", (), {"render": lambda self, messages: "prompt"})()
    broken = plugins_with(Breaks()).provider("output_filter", "breaks", fake.recipe)
    runner = ovrecipe.Runner(
        FakePipeline(),
        recipe=fake.recipe,
        variant="int4",
        template=template,
        filters=[ChosenFilter(broken, None)],
    )
    tab.open(site(runner=runner).url).ask("Hello")
    tab.until(lambda: tab.state() == "failed")
    assert "'breaks' of plugin" in tab.problem()
    assert "raised KeyError" in tab.problem()
    assert tab.one("#submit").is_enabled()


def test_a_blank_instruction_is_refused_with_what_to_do(site, tab):
    """The runner's own words, and nothing is generated."""
    pipeline = FakePipeline()
    tab.open(site(pipeline).url).ask("   ")
    tab.until(lambda: tab.problem() == "the prompt is emptyask something")
    assert pipeline.prompts == []


def test_two_browsers_wait_for_each_other_and_never_mix(site, tab, other_tab):
    """First come, first served; the second sees where it stands, and each gets its own answer."""
    pipeline = gated("for ", "you")
    served = site(pipeline)
    tab.open(served.url)
    other_tab.open(served.url)
    tab.ask("first")
    tab.until(lambda: tab.state() == "answering")
    other_tab.ask("second")
    other_tab.until(lambda: other_tab.status() == "Waiting: 1 ahead of you")
    pipeline.gate.release(2)
    tab.until(lambda: tab.state() == "done")
    other_tab.until(lambda: other_tab.state() == "answering")
    assert other_tab.response() == ""
    pipeline.gate.release()
    other_tab.until(lambda: other_tab.response() == "for ")
    assert tab.response() == "for you"
    pipeline.gate.release()
    other_tab.until(lambda: other_tab.state() == "done")
    assert pipeline.prompts == ["User: first\n", "User: second\n"]
    assert pipeline.most_at_once == 1


def test_each_browser_is_answered_by_the_variant_that_it_shows(site, tab, other_tab):
    """A switch in one browser must not change who answers in the other."""
    served = site(
        FakePipeline(["I am int4."]),
        int4=lambda: FakePipeline(["I am int4."]),
        int8=lambda: FakePipeline(["I am int8."]),
    )
    tab.open(served.url)
    other_tab.open(served.url).choose("variant", "int8")
    other_tab.until(lambda: other_tab.state() == "done")
    tab.ask("Who?")
    tab.until(lambda: tab.response() == "I am int4.")
    other_tab.ask("Who?")
    other_tab.until(lambda: other_tab.response() == "I am int8.")


def test_stop_leaves_the_queue(site, tab, other_tab):
    """Who does not want to wait must not take the model's time when the turn comes."""
    pipeline = gated("a", "b")
    served = site(pipeline)
    tab.open(served.url).ask("first")
    other_tab.open(served.url).ask("second")
    other_tab.until(lambda: other_tab.state() == "waiting")
    other_tab.click("#stop")
    other_tab.until(lambda: other_tab.state() == "stopped")
    pipeline.gate.release(2)
    tab.until(lambda: tab.state() == "done")
    assert pipeline.prompts == ["User: first\n"]


def test_a_browser_that_leaves_does_not_hold_the_model(site, tab, other_tab):
    """A closed tab stops its answer, so that the next in the queue is served."""
    pipeline = gated(*["word "] * 1000)
    served = site(pipeline)
    tab.open(served.url).ask("first")
    tab.until(lambda: tab.state() == "answering")
    other_tab.open(served.url).ask("second")
    other_tab.until(lambda: other_tab.state() == "waiting")
    tab.driver.get("about:blank")
    pipeline.gate.release(1)

    def next_in_the_queue_is_served():
        pipeline.gate.release(1)
        return other_tab.state() == "answering"

    other_tab.until(next_in_the_queue_is_served)
    other_tab.click("#stop")
    pipeline.gate.release(1)
    other_tab.until(lambda: other_tab.state() == "stopped")


def test_a_chat_remembers_and_clear_forgets(site, tab):
    """The second prompt has the first turn in it, and after Clear it has not."""
    pipeline = FakePipeline(["fine"])
    tab.open(site(pipeline).url).choose("mode", "Chat")
    tab.until(lambda: tab.one("#conversation").is_displayed())
    tab.ask("how?")
    tab.until(lambda: tab.state() == "done" and tab.conversation() == ["how?", "fine"])
    assert tab.instruction() == ""
    tab.ask("and now?")
    tab.until(lambda: len(pipeline.prompts) == 2 and tab.state() == "done")
    assert pipeline.prompts[1] == "User: how?\nfine\nUser: and now?\n"
    tab.click("#clear")
    tab.until(lambda: tab.conversation() == [])
    tab.ask("who?")
    tab.until(lambda: len(pipeline.prompts) == 3 and tab.state() == "done")
    assert pipeline.prompts[2] == "User: who?\n"


def test_a_failed_turn_of_a_chat_gives_the_instruction_back(site, tab):
    """It leaves no trace in the conversation, and nobody types it twice."""
    tab.open(site(FakePipeline(["Half"], fail=RunError("gone"))).url).choose("mode", "Chat")
    tab.ask("a long question")
    tab.until(lambda: tab.problem() == "gone")
    tab.until(lambda: tab.instruction() == "a long question")
    assert tab.conversation() == []


@pytest.mark.parametrize("mode", ["Single instruction", "Chat"])
def test_what_the_model_says_is_shown_as_it_is(site, tab, mode):
    """Text that looks like HTML or Markdown is text; nothing of it vanishes, runs or loads."""
    said = "a<b and c>d ![x](https://outside.example/p.png) <img src=//outside.example/q> **!!**"
    tab.open(site(FakePipeline([said])).url).choose("mode", mode)
    tab.requested_urls()
    tab.ask("Hello")
    tab.until(lambda: tab.state() == "done")
    shown = tab.response() if mode != "Chat" else tab.conversation()[-1]
    assert shown == said
    assert not [each for each in tab.requested_urls() if "outside" in each]


def test_nobody_outside_is_asked(site, tab, hosts_asked):
    """No font, script, version check or counter: neither the page nor the server leaves."""
    hosts_asked.clear()
    tab.requested_urls()
    tab.open(site().url).ask("Hello")
    tab.until(lambda: tab.state() == "done")
    urls = [each for each in tab.requested_urls() if each.startswith(("http", "ws"))]
    assert {urlparse(each).hostname for each in urls} == {"127.0.0.1"}
    assert hosts_asked <= {"127.0.0.1", "localhost", "::1"}


def test_recipe_and_artifact_are_shown(site, tab):
    """Who reads an answer has to know which model gave it."""
    tab.open(site(FakePipeline(), int8=FakePipeline).url)
    facts = tab.text("#facts")
    assert "sample" in facts
    assert "example/model" in facts
    assert "int4 on FAKE" in facts
    assert "86.00 MB" in facts
    assert "fp16" in facts, "what is not built is named"
