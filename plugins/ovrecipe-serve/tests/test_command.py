"""`ovrecipe serve` before it serves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ovrecipe_serve.command import api_keys

from ovrecipe.errors import ProjectError


def called(*words, cwd, **env):
    """Run the command, and return its exit code and what it said."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ovrecipe"), "serve", *words],
        cwd=cwd,
        env={**os.environ, "OVRECIPE_CONFIG": os.devnull, "COLUMNS": "200", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def project_dir(tmp_path):
    """A project with a recipe of which nothing is built."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "smol.yaml").write_text("model: {id: org/name}\nvariants: {int4: {}}\n")
    return tmp_path


@pytest.mark.slow
def test_an_open_address_needs_keys(project_dir):
    """Nobody serves the whole network by accident."""
    code, said = called("smol", "--host", "0.0.0.0", cwd=project_dir)
    assert code == 2
    assert "is open to others, so it needs keys" in said


@pytest.mark.slow
def test_what_is_not_built_is_told_with_the_command_that_builds_it(project_dir):
    """Before anything listens."""
    code, said = called("smol:int4", cwd=project_dir)
    assert code == 10
    assert "ovrecipe build smol:int4" in said


def test_keys_are_those_of_the_file_and_of_the_environment(tmp_path):
    """Comments and blanks are none."""
    path = tmp_path / "keys"
    path.write_text("# mine\nfirst \n\nsecond\n")
    assert api_keys(path, " third,,") == ("third", "first", "second")
    assert api_keys(None, "") == ()


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"\xff"])
def test_a_file_without_keys_is_an_error(tmp_path, content):
    """It would open the server to anybody."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProjectError, match=r"cannot be read|has no key"):
        api_keys(path, "")


@pytest.mark.model
def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(smollm2_project):
    """With what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = called(
            *("smollm2-135m:int4", "--port", str(port)),
            cwd=smollm2_project.root,
            OVRECIPE_STORE=str(smollm2_project.store_dir),
        )
    assert code == 11
    assert "choose another --port" in said


@pytest.mark.slow
def test_the_servers_own_process_loads_nothing_of_openvino():
    """A step of the engine would hold it up, and it starts in no time."""
    code = (
        "import sys, ovrecipe_serve.app, ovrecipe_serve.process, ovrecipe_serve.protocol\n"
        "sys.exit(any(name in sys.modules for name in ('openvino', 'openvino_genai', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
