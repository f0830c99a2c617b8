"""`ovrecipe web` itself, with the real model: from the command line to the page to Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Only so that a test of a program that does not end does end; 0.6 s was measured.
HANGS_SECONDS = 60


@pytest.fixture
def started(smollm2_project):
    """Start the command with more in its environment; what it says is read from `stderr`."""
    ovrecipe = Path(sys.executable).with_name("ovrecipe")
    root, store = str(smollm2_project.root), str(smollm2_project.store_dir)
    own = {"OVRECIPE_STORE": store, "OVRECIPE_CONFIG": os.devnull, "OVRECIPE_DEVICE": ""}
    processes = []

    def start(**env):
        process = subprocess.Popen(
            [ovrecipe, "--project", root, "web", "smollm2-135m:int4"],
            env={**smollm2_project.env, **own, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_recipes_and_variants_are_offered_when_tab_is_pressed(tmp_path):
    """As for the commands of ovrecipe itself."""
    (tmp_path / "recipes").mkdir()
    recipe = "model: {id: org/name}\nvariants: {int8: {}, int4: {}}\n"
    (tmp_path / "recipes" / "smol.yaml").write_text(recipe)
    asked = {"_OVRECIPE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "ovrecipe web smo"}
    done = subprocess.run(
        [Path(sys.executable).with_name("ovrecipe")],
        env={**os.environ, **asked},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    offered = done.stdout.replace("\\", "")
    assert [name in offered for name in ("smol", "smol:int8", "smol:int4")] == [True] * 3


@pytest.mark.model
@pytest.mark.browser
def test_the_real_model_answers_on_the_page_and_ctrl_c_ends_it(started, tab):
    """Everything at once, as a user has it."""
    command = started()
    said = []
    while not (address := re.search(r"at (\S+) .*Ctrl-C ends it", "".join(said))):
        said.append(command.stderr.readline())
        assert said[-1], said
    tab.open(address[1])
    tab.click("#greedy input")
    tab.ask("What is the capital of France?")
    tab.until(lambda: tab.state() == "done")
    assert "Paris" in tab.response()
    caption, figures = tab.figures()
    assert "measured by GenAI" in caption
    assert float(figures["Tokens/s"]) > 0
    command.send_signal(signal.SIGINT)
    assert command.wait(HANGS_SECONDS) == 0


@pytest.mark.model
def test_the_configured_device_counts_where_none_is_named(started):
    """As for `ovrecipe run`: here it is one that no machine has."""
    command = started(OVRECIPE_DEVICE="NOWHERE")
    _, said = command.communicate(timeout=HANGS_SECONDS)
    assert command.returncode == 11
    assert "NOWHERE" in said
