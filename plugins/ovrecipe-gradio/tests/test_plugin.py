"""What the plugin is to ovrecipe, and what it may import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import ovrecipe_gradio
import pytest
from ovrecipe_gradio.catalog import BuiltVariant, chat_catalog, project_catalog
from ovrecipe_gradio.examples import EXAMPLES
from ovrecipe_gradio.figures import conversation, problem
from ovrecipe_gradio.frontend import GradioFrontend
from ovrecipe_gradio.markdown import Answers
from ovrecipe_gradio.server import build, launch, switch_off_analytics
from ovrecipe_gradio.session import SINGLE, Exchange, Memory, Session
from ovrecipe_gradio.settings import Defaults, generation_of

import ovrecipe
from ovrecipe.errors import GenerationParameterRefused, RunError
from ovrecipe.hooks.roles import ChatFrontend
from ovrecipe.testing import (
    FakePipeline,
    assert_imports_public_names,
    fake_chat,
    shown,
)


def test_the_plugin_keeps_the_contract(assert_plugin_conforms):
    """As everybody's plugin."""
    assert_plugin_conforms("ovrecipe-gradio")


def test_only_public_names_of_ovrecipe_are_imported():
    """Private modules may change with any release."""
    assert_imports_public_names(ovrecipe_gradio)


def test_looking_for_plugins_does_not_import_gradio():
    """It takes seconds, and `ovrecipe --help` must not."""
    code = (
        "import sys, ovrecipe_gradio.frontend as plugin; plugin.GradioFrontend(); "
        "import ovrecipe_gradio.command; sys.exit('gradio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_is_announced():
    """`ovrecipe --help` lists it from the metadata alone."""
    [web] = [point for point in entry_points(group="ovrecipe.command") if point.name == "web"]
    assert web.value == "ovrecipe_gradio.command:command"


def test_the_frontend_is_for_conversations():
    """A page for one answer would be gone before anyone looks at it, so it is refused."""
    frontend = GradioFrontend()
    assert isinstance(frontend, ChatFrontend)
    with pytest.raises(RunError, match="shows conversations"):
        shown(frontend)


def test_there_are_ten_examples():
    """As on the tutorial's page."""
    assert len(set(EXAMPLES)) == 10


def test_sliders_have_the_tutorials_ranges():
    """Without a word from the recipe."""
    ranges = Defaults.of({}).ranges
    assert {limits.name: (limits.minimum, limits.maximum, limits.default) for limits in ranges} == {
        "max_new_tokens": (1, 1000, 256),
        "temperature": (0.1, 5.0, 0.8),
        "top_p": (0.05, 1.0, 1.0),
        "top_k": (0, 50, 0),
    }


def test_a_recipes_value_beyond_a_slider_widens_it():
    """Cut to the range, the page would quietly ask for something else."""
    defaults = Defaults.of({"max_new_tokens": 4000, "top_p": 0.01, "do_sample": False})
    length, _, top_p, _ = defaults.ranges
    assert (length.maximum, length.default, top_p.minimum) == (4000, 4000, 0.01)
    assert defaults.greedy


def test_a_conversations_parameters_are_where_its_page_starts():
    """`ovrecipe chat --greedy --frontend gradio` must not sample."""
    catalog = chat_catalog(fake_chat().runner.chat(greedy=True, max_new_tokens=9))
    defaults = Defaults.of(catalog.starts_at)
    assert defaults.greedy
    assert defaults.ranges[0].default == 9


@pytest.fixture
def stale():
    """A model that was built before its recipe said `temperature: 0.9, top_k: 20`."""
    fake = fake_chat().runner
    told = fake.recipe.generation.model_copy(update={"temperature": 0.9, "top_k": 20})
    return ovrecipe.Runner(
        FakePipeline(),
        recipe=fake.recipe.model_copy(update={"generation": told}),
        variant="int4",
        template=fake.template,
        parameters={"do_sample": True, "temperature": 0.3},
    )


def test_an_artifacts_own_parameters_are_where_its_page_starts(stale, tmp_path):
    """`ovrecipe run` takes them too: the page must not answer otherwise, built today or not."""
    project = SimpleNamespace(models_dir=tmp_path)
    for catalog in (chat_catalog(stale.chat()), project_catalog(project, stale, ["CPU"])):
        _, temperature, _, top_k = Defaults.of(catalog.starts_at).ranges
        assert (temperature.default, top_k.default) == (0.3, 0)


def test_a_conversations_parameters_go_before_the_artifacts(stale):
    """As in `ovrecipe chat` on a terminal."""
    defaults = Defaults.of(chat_catalog(stale.chat(temperature=0.5, rng_seed=3)).starts_at)
    assert (defaults.ranges[1].default, defaults.seed) == (0.5, "3")


def test_a_conversation_at_temperature_zero_starts_greedy(stale):
    """A slider at 0 would be refused together with sampling."""
    defaults = Defaults.of(chat_catalog(stale.chat(temperature=0)).starts_at)
    assert defaults.greedy
    assert defaults.ranges[1].default == 0.3


def test_a_conversation_with_a_temperature_samples_whatever_the_artifact_does(stale):
    """As everywhere a sampling parameter without `do_sample` means sampling."""
    stale.parameters = {"do_sample": False}
    assert Defaults.of(chat_catalog(stale.chat()).starts_at).greedy
    assert not Defaults.of(chat_catalog(stale.chat(temperature=0.5)).starts_at).greedy


def test_what_the_page_cannot_set_stays_as_the_conversation_has_it():
    """`ovrecipe chat -g repetition_penalty=1.2` counts for each answer; what it can set, does."""
    import gradio as gr
    from ovrecipe_gradio.engine import Engine
    from ovrecipe_gradio.handlers import Handlers
    from ovrecipe_gradio.page import lay_out

    pipeline = FakePipeline()
    runner = fake_chat(pipeline).runner
    catalog = chat_catalog(runner.chat(greedy=True, max_new_tokens=9, repetition_penalty=1.2))
    engine = Engine(lambda choice, announce: runner)
    choice = engine.adopt(runner)
    with gr.Blocks(analytics_enabled=False):
        handlers = Handlers(lay_out(catalog, choice, Defaults.of({})), engine, catalog)
    page = (choice.variant, choice.device, "", False, "7", 5, 0.8, 1.0, 0)
    list(handlers.ask(Session(), None, SINGLE, "hi", *page))
    engine.close()
    [config] = pipeline.configs
    assert config.pop("repetition_penalty") == 1.2
    assert config == generation_of(5, 0.8, 1.0, 0, greedy=False, seed="7")


def test_facts_of_an_artifact_are_those_of_its_manifest(stale, tmp_path):
    """Who reads an answer can tell which build gave it."""
    folder = tmp_path / stale.recipe.name / "int4"
    folder.mkdir(parents=True)
    files = {"a.bin": {"size_bytes": 5}, "b.xml": {"size_bytes": 2}}
    manifest = {"files": files, "sha256": "ab" * 32, "created": "2026-01-02T03:04:05+00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    catalog = project_catalog(SimpleNamespace(models_dir=tmp_path), stale, ["CPU"])
    assert catalog.variants == {"int4": BuiltVariant(None, 7, "ab" * 32, manifest["created"])}


def test_greedy_leaves_the_sampling_parameters_out():
    """The runner refuses them together."""
    assert generation_of(5, 0.8, 0.9, 3, greedy=True, seed="1") == {
        "max_new_tokens": 5,
        "greedy": True,
    }


def test_an_empty_seed_is_drawn_and_a_given_one_is_taken():
    """GenAI's own is always the same, and so were the answers."""
    drawn = {generation_of(5, 0.8, 0.9, 3, greedy=False, seed=" ")["rng_seed"] for _ in range(9)}
    assert len(drawn) > 1
    assert generation_of(5, 0.8, 0.9, 3, greedy=False, seed=" 7 ")["rng_seed"] == 7


def test_a_recipes_seed_is_where_the_page_starts():
    """Who fixed it in the recipe wants the same answers here."""
    assert Defaults.of({"rng_seed": 3}).seed == "3"
    assert Defaults.of({}).seed == ""


@pytest.mark.parametrize("seed", ["-1", "1.5", "abc", "\u00b2"])
def test_a_seed_that_is_no_number_is_refused(seed):
    """By name, before anything is asked."""
    with pytest.raises(GenerationParameterRefused, match="is not a whole number"):
        generation_of(5, 0.8, 0.9, 3, greedy=False, seed=seed)


@pytest.mark.parametrize("kept", [None, 3, {"mode": "Both"}, {"chat": [{"role": "user"}]}])
def test_what_another_version_left_in_the_browser_is_forgotten(kept):
    """A page that does not open for old data would have to be repaired by hand."""
    assert Memory.of(kept) == Memory()


def test_line_breaks_and_indentation_of_an_answer_stay():
    """Small models write code without a fence."""
    said = "def f():\n    return 1\n\n- one\n  two"
    html = Answers().render(said)
    assert "<p>def f():\n    return 1</p>" in html
    assert "<p>one\ntwo</p>" in html


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "JaVaScript:alert(1)", "data:text/html,x", "vbscript:x", "/config"],
)
def test_a_link_that_could_act_stays_text(link):
    """Only the web and mail are linked."""
    assert "href" not in Answers().render(f"[x]({link}) <{link}>")


def test_text_from_outside_cannot_become_html():
    """A model's name, a path or an error may hold anything."""
    assert "<script>" not in problem(RunError("<script>x", remedy="<b>"))
    assert "&lt;script&gt;" in problem(ValueError("<script>x"))


def test_no_figures_are_shown_before_there_are_any():
    """Nothing stale, and no zero that nobody measured."""
    assert "figures" not in conversation([Exchange(instruction="hi", answer="")])


def test_nothing_built_names_the_command_that_helps(tmp_path):
    """The page would have nothing to choose from."""
    (tmp_path / "recipes").mkdir()
    recipe = "model: {id: a/b}\nvariants: {int4: {}}\n"
    (tmp_path / "recipes" / "tiny.yaml").write_text(recipe, encoding="utf-8")
    command = [Path(sys.executable).with_name("ovrecipe"), "--project", tmp_path, "web", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "no variant of tiny is built" in done.stderr
    assert "ovrecipe build tiny" in done.stderr


def test_analytics_are_off_whatever_the_environment_says():
    """Before gradio is imported, for it reads the environment then."""
    env = {"GRADIO_ANALYTICS_ENABLED": "True"}
    switch_off_analytics(env)
    assert env["GRADIO_ANALYTICS_ENABLED"] == "False"


@pytest.fixture
def blocks():
    from ovrecipe_gradio.engine import Engine

    runner = fake_chat().runner
    engine = Engine(lambda choice, announce: runner)
    made = build(chat_catalog(runner.chat()), engine, engine.adopt(runner))
    yield made
    made.close(verbose=False)
    engine.close()


def test_the_page_is_served_on_this_machine_only_and_not_shared(blocks, monkeypatch):
    """Whatever gradio's own variables say: a public link has to be asked for."""
    monkeypatch.setenv("GRADIO_SHARE", "True")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    address = launch(blocks)
    assert address.local.startswith("http://127.0.0.1:")
    assert address.shared is None
    assert not blocks.analytics_enabled


def test_a_taken_port_is_said(blocks):
    """With what to do about it."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(RunError, match="the page cannot be served on"):
            launch(blocks, port=taken.getsockname()[1])
