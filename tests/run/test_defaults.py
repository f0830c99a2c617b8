"""Which model counts where the command line names none, and what is refused before loading."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ovrecipe.cli.run_command import is_question
from ovrecipe.errors import DeviceUnknown, ProjectError, StoreNotWritable
from ovrecipe.recipe.defaults import (
    CONFIG_VARIABLE,
    PROJECT_FILE,
    USER_FILE,
    VARIABLES,
    Default,
    Defaults,
    read_defaults,
)
from ovrecipe.run.load import load
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.conftest import REPOSITORY

QUESTION = "What is the capital of France?"


@pytest.fixture
def phi(project):
    """A project with a recipe and, for its int4, a directory that is no model."""
    (project.recipes_dir / "phi.yaml").write_text(
        "model: {id: org/phi}\nprompt: {template: '{instruction}'}\nvariants: {int4: {}}\n"
    )
    folder = project.store_dir / "assemble" / "sha"
    folder.mkdir(parents=True)
    (folder / "openvino_model.xml").write_text("<net")
    (folder / "openvino_model.bin").write_bytes(b"")
    (folder / "chat_template.jinja").write_text("{{ messages[-1].content }}")
    set_view(Store(project.store_dir), project.models_dir, "phi", "int4", folder)
    return project


def test_the_nearest_default_wins(tmp_path):
    """Environment, project, user; each key by itself."""
    user = tmp_path / "mine.toml"
    user.write_text("model = 'theirs'\ndevice = 'GPU'\n")
    env = {CONFIG_VARIABLE: str(user)}
    assert read_defaults(env, tmp_path) == Defaults(
        model=Default("theirs", str(user)), device=Default("GPU", str(user))
    )
    (tmp_path / PROJECT_FILE).write_text("model = 'ours:int4'\n")
    assert read_defaults(env, tmp_path).model == Default("ours:int4", PROJECT_FILE)
    assert read_defaults(env, tmp_path).device == Default("GPU", str(user))
    env |= {"OVRECIPE_MODEL": "mine", "OVRECIPE_DEVICE": ""}
    assert read_defaults(env, tmp_path).model == Default("mine", "OVRECIPE_MODEL")
    assert read_defaults(env, tmp_path).device == Default("GPU", str(user))


def test_without_any_there_is_none(tmp_path):
    """A file that is not there is no error."""
    assert read_defaults({CONFIG_VARIABLE: str(tmp_path / "none")}, tmp_path) == Defaults()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 'x'", r"^ovrecipe\.toml: modle: unknown key; perhaps you meant 'model'$"),
        ("model = 3", r"^ovrecipe\.toml: model: must be text, got 3$"),
        ("device = ''", r"^ovrecipe\.toml: device: must be text, got ''$"),
        ("[run]\nmodel = 'x'", r"^ovrecipe\.toml: run: unknown key$"),
        ("model: x", r"^ovrecipe\.toml: is not TOML: .*line 1"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text, message):
    """A default with a typo would be none, without a word."""
    (tmp_path / PROJECT_FILE).write_text(text)
    with pytest.raises(ProjectError, match=message):
        read_defaults({CONFIG_VARIABLE: os.devnull}, tmp_path)


def test_every_variable_and_key_is_documented():
    """A setting that nobody can find is none."""
    manual = (REPOSITORY / "docs" / "running.md").read_text("utf-8")
    assert set(VARIABLES) == set(Defaults.__dataclass_fields__)
    for key, variable in VARIABLES.items():
        assert f"| `{key}` | `{variable}` |" in manual
    for name in (CONFIG_VARIABLE, PROJECT_FILE, USER_FILE):
        assert f"`{name}`" in manual or f"/{name}`" in manual


@pytest.mark.parametrize(
    ("word", "question"),
    [
        (QUESTION, True),
        ("phi: what is that", True),
        ("法国的首都是哪里?", True),
        ("Hello!", True),
        ("-", True),
        ("", True),
        ("phi", False),
        ("phi:int4", False),
        ("phi:", False),
        ("hello", False),
    ],
)
def test_what_no_recipe_can_be_called_is_a_question(word, question):
    """One word that may be a name is one, so that a typo is not sent to another model."""
    assert is_question(word) is question


def test_a_question_alone_goes_to_the_default_model(ovrecipe, phi):
    """And it is said which that is, who chose it and what was asked."""
    env = {"OVRECIPE_MODEL": "phi:int4"}
    told = ovrecipe("run", QUESTION, env=env, cwd=phi.root)
    assert f"the model is phi:int4 (OVRECIPE_MODEL)\novrecipe: asked: {QUESTION}\n" in told.err
    assert "the model cannot be loaded on CPU" in told.err
    assert told.code == 11
    piped = ovrecipe("run", stdin=QUESTION.encode(), env=env, cwd=phi.root)
    assert "the model is phi:int4 (OVRECIPE_MODEL)" in piped.err
    assert "cannot be loaded" in piped.err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "hello",
            "no recipe 'hello' in recipes/\n  there are: phi\n  to ask 'hello', name a recipe",
        ),
        ("phj", "no recipe 'phj' in recipes/; perhaps you meant 'phi'\n"),
        ("phi:int9", "has no variant 'int9'; perhaps you meant 'phi:int4'\n  it has: int4\n"),
    ],
)
def test_a_word_that_names_nothing_is_refused_before_a_prompt_is_read(ovrecipe, phi, word, said):
    """What is read first would be lost, and an empty one would be blamed."""
    done = ovrecipe("run", word, env={"OVRECIPE_MODEL": "phi:int4"}, cwd=phi.root)
    assert done.code == 3
    assert said in done.err
    assert "prompt" not in done.err


def test_the_projects_file_chooses_model_and_device(ovrecipe, phi):
    """For everybody who works in it; an option goes before it."""
    (phi.root / PROJECT_FILE).write_text("model = 'phi'\ndevice = 'NPU7'\n")
    chat = ovrecipe("chat", cwd=phi.root)
    assert "the model is phi (ovrecipe.toml)" in chat.err
    assert "sees no 'NPU7' here" in chat.err
    assert "loaded on CPU" in ovrecipe("chat", "phi", "--device", "CPU", cwd=phi.root).err
    env = {"OVRECIPE_DEVICE": "NPU8"}
    assert "sees no 'NPU8' here" in ovrecipe("run", "phi", "hi", env=env, cwd=phi.root).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", QUESTION], 2, "say which model, or set a default"),
        (["chat"], 2, "say which model, or set a default"),
        (["run", "phj"], 3, "perhaps you meant 'phi'\n  there are: phi\n  to ask 'phj', name a"),
        (["run", "phj", "hi"], 3, "perhaps you meant 'phi'\n"),
        (["run", "phi", "hi", "--json", "--frontend", "quiet"], 2, "leave one out"),
        (["run", "phi", "hi", "--temperature", "-1"], 11, "temperature=-1.0: "),
        (["run", "phi", "hi", "-g", "temprature=1"], 11, "perhaps you meant 'temperature'"),
        (["run", "phi", "hi", "--temperature", "0", "--top-k", "3"], 11, "top_k: means nothing"),
        (["chat", "phi", "-g", "min_new_tokens=9", "--max-new-tokens", "5"], 11, "min_new_tokens"),
    ],
)
def test_what_can_be_refused_is_refused_before_the_model_is_loaded(
    ovrecipe, phi, words, code, message
):
    """Loading takes seconds; here it would fail."""
    told = ovrecipe(*words, stdin=b"hi", cwd=phi.root)
    assert message in told.err
    assert "cannot be loaded" not in told.err
    assert told.code == code


def test_compiled_models_are_kept_where_the_caller_says(phi, tmp_path):
    """And in the store otherwise, which has to be writable then."""
    (phi.store_dir / ".cache").write_text("a file")
    with pytest.raises(StoreNotWritable, match=r"\.cache.sha: cannot be written") as caught:
        load("phi", "NPU7", project=phi)
    assert "or pass CACHE_DIR" in caught.value.remedy
    with pytest.raises(DeviceUnknown, match="sees no 'NPU7'"):
        load("phi", "NPU7", project=phi, CACHE_DIR=str(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="a shell's redirections")
@pytest.mark.parametrize(
    "words", [["run", "phi", "hi"], ["run", "phi", "hi", "--json"], ["chat", "phi"]]
)
def test_closed_standard_output_is_told(ovrecipe, phi, words):
    """Before anything is loaded for nobody."""
    told = ovrecipe.process(*words, redirection=">&-", cwd=phi.root)
    assert "standard output is closed" in told.err
    assert told.code == 1


@pytest.mark.skipif(os.name == "nt", reason="a shell's redirections")
def test_closed_standard_input_asks_nothing(ovrecipe, phi):
    """And a closed standard error is told nothing."""
    assert (
        "the prompt is empty" in ovrecipe.process("run", "phi", redirection="<&-", cwd=phi.root).err
    )
    assert ovrecipe.process("run", "phi", "hi", redirection="2>&-", cwd=phi.root).code == 11


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_loading_shows_on_a_terminal_and_not_in_a_pipe(ovrecipe, phi):
    """Four to six seconds of silence look like a hang."""
    import pty

    assert "loading phi" not in ovrecipe("run", "phi", "hi", cwd=phi.root).err
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ovrecipe", "run", "phi", "hi"],
        cwd=phi.root,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
    )
    os.close(side)
    said = b""
    try:
        while piece := os.read(terminal, 4096):
            said += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    out, _ = process.communicate()
    os.close(terminal)
    assert b"loading phi on CPU" in said
    assert out == b""
