"""`ovrecipe web` itself, with the real model: from the command line to the page to Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

#: Only so that a test of a program that does not end does end; 0.6 s was measured.
HANGS_SECONDS = 60


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def command(smollm2_project, free_port):
    """The running command; what it says is read from `stderr`."""
    ovrecipe = Path(sys.executable).with_name("ovrecipe")
    root, store = str(smollm2_project.root), str(smollm2_project.store_dir)
    process = subprocess.Popen(
        [ovrecipe, "--project", root, "web", "smollm2-135m:int4", "--port", str(free_port)],
        env={**smollm2_project.env, "OVRECIPE_STORE": store},
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.model
@pytest.mark.browser
def test_the_real_model_answers_on_the_page_and_ctrl_c_ends_it(command, free_port, tab):
    """Everything at once, as a user has it."""
    said = []
    while not any("Ctrl-C" in each for each in said):
        said.append(command.stderr.readline())
        assert said[-1], said
    tab.open(f"http://127.0.0.1:{free_port}/")
    tab.click("#greedy input")
    tab.ask("What is the capital of France?")
    tab.until(lambda: tab.state() == "done")
    assert "Paris" in tab.response()
    caption, figures = tab.figures()
    assert "measured by GenAI" in caption
    assert float(figures["Tokens/s"]) > 0
    command.send_signal(signal.SIGINT)
    assert command.wait(HANGS_SECONDS) == 0
