"""A whole build on two nodes, of which one is lost while it works on a stage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.model]
#: The tiny checkpoints are those of the repository's own tests.
REPOSITORY = Path(__file__).parents[3]
CHECKPOINT = "import sys; from pathlib import Path; from tests.twins import make_checkpoint;"
CHECKPOINT += "make_checkpoint(Path(sys.argv[1]), 'llama')"
RECIPE = {
    "model": {"id": "./checkpoint"},
    "prompt": {"chat_template": "model"},
    "variants": {"int8": {}, "int4": {"group_size": 32}},
}


@pytest.fixture
def project_dir(tmp_path: Path) -> Path:
    """A project with the recipe `tiny`, of a Llama with two layers."""
    recipes_dir = tmp_path / "recipes"
    recipes_dir.mkdir()
    (recipes_dir / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    command = [sys.executable, "-c", CHECKPOINT, str(recipes_dir / "checkpoint")]
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
    return tmp_path


def node_of(cluster: Any, module: str, folder: Path) -> Any | None:
    """Return the node on which a project's stage is at work; None when it is not (yet)."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if module in words and any(word.startswith(str(folder)) for word in words):
                above = {parent.pid for parent in process.parents()}
                return next((raylets[pid] for pid in raylets.keys() & above), None)
        except psutil.Error:  # it has ended
            continue
    return None


@pytest.mark.timeout(900)
def test_a_build_loses_a_node_and_no_variant(cluster: Any, project_dir: Path) -> None:
    """The stage that was on it is made again on the other, and what follows as well."""
    words = [sys.executable, "-m", "ovrecipe", "build", "tiny", "--ray", cluster.address]
    env = {**os.environ, "OVRECIPE_STORE": str(project_dir / "store")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=project_dir, env=env, **pipes) as process:
        said = ""
        while "base tiny: " not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        while (node := node_of(cluster, "ovrecipe.build.stages.base", project_dir)) is None:
            assert process.poll() is None, said + process.stderr.read()
        cluster.remove_node(node, allow_graceful=False)
        said += process.stderr.read()
        told = process.stdout.read()
    assert process.returncode == 0, said
    lost = [line for line in said.splitlines() if "; it is made again" in line]
    assert "   base tiny: its node is gone: NodeDiedError: " in "".join(lost)
    assert "tiny:int4" in told
    assert "tiny:int8" in told
    assert "in models/tiny/" in told
    assert "raylet" not in told, "what Ray says of a lost node would be in answers and documents"
    words = words[: words.index("--ray")]
    done = subprocess.run(words, cwd=project_dir, env=env, check=True, **pipes)
    assert "Nothing to do" in done.stdout
