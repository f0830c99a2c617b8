"""Stages and a batch on two nodes, of which one is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ovrecipe_ray.cluster import RayCluster

from ovrecipe.errors import ClusterUnreachable, NodeLost, StoreError
from ovrecipe.hooks.roles import RemoteStage

pytestmark = [pytest.mark.slow, pytest.mark.model]
LINES = 24


@pytest.fixture
def stage(tmp_path):
    """A stage whose process runs a text of Python."""

    def made(code: str, **changes: object) -> RemoteStage:
        found = RemoteStage(
            title="weights tiny:int4",
            words=["-c", code],
            env={"OVRECIPE_STORE": str(tmp_path), "SECRET": "stays here"},
            log_path=tmp_path / "log.txt",
            memory_bytes=1_500_000_000,
            cancelled=lambda: False,
        )
        return replace(found, **changes)

    return made


def test_a_stage_runs_on_a_node_and_is_heard(nodes, stage, tmp_path):
    """With what it prints in its log, its exit code, and of the environment only what is ours."""
    code = (
        "import json, os, sys; print('printed', file=sys.stderr);"
        "print(json.dumps({'event': 'done', 'facts': dict(os.environ)})); sys.exit(3)"
    )
    heard = []
    ended = nodes.run_stage(stage(code), heard.append)
    (event,) = heard
    assert ended.exit_code == 3
    assert event["facts"]["OVRECIPE_STORE"] == str(tmp_path)
    assert not {"SECRET", "OMP_NUM_THREADS"} & event["facts"].keys() - os.environ.keys()
    assert (tmp_path / "log.txt").read_text() == "printed\n"


def test_a_stage_whose_node_goes_is_lost(nodes, stage):
    """What a node does and what a process of Ray's does when it goes is the same from here."""
    with pytest.raises(NodeLost, match=r"^weights tiny:int4: its node is gone: [^.]*$"):
        nodes.run_stage(stage("import os; os.kill(os.getppid(), 9)"), print)


def test_a_stage_that_is_cancelled_is_gone(nodes, stage, tmp_path):
    """It wrote its number when it began, and no process has that afterwards."""
    code = (
        "import os, time; open('{}', 'w').write(str(os.getpid()));"
        'print(\'{{"event": "begun"}}\', flush=True); time.sleep(600)'
    )
    heard = []
    running = stage(code.format(tmp_path / "pid"), cancelled=lambda: bool(heard))
    with pytest.raises(KeyboardInterrupt):
        nodes.run_stage(running, heard.append)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_a_store_that_a_node_does_not_see_is_refused(nodes, stage, tmp_path, monkeypatch):
    """Before the build, and again by the node that a stage comes to."""
    nodes.check_store(tmp_path)
    assert [*tmp_path.iterdir()] == []
    unseen = stage("", log_path=tmp_path / "elsewhere" / "log.txt")
    with pytest.raises(StoreError, match=r"does not see .*elsewhere\n  put the store on a file"):
        nodes.run_stage(unseen, print)
    monkeypatch.setattr(Path, "touch", lambda path: None)
    monkeypatch.setattr(Path, "unlink", lambda path: None)
    with pytest.raises(StoreError, match=r"is not seen by \S+, \S+\n"):
        nodes.check_store(tmp_path)


def test_a_cluster_that_is_not_there_is_said():
    """With what starts one."""
    connection = RayCluster().connect("nonsense", print)
    with pytest.raises(ClusterUnreachable, match="no Ray cluster answers at 'nonsense'"):
        connection.__enter__()


def test_a_batch_loses_a_node_and_no_line(cluster, smollm2_project, tmp_path):
    """Each line once and in its order, whoever answered it, and after a restart none again."""
    asked, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [{"instruction": f"Name river {number}.", "number": number} for number in range(LINES)]
    asked.write_text("\n".join(map(json.dumps, lines)))
    words = ["batch", "smollm2-135m:int4", str(asked), "-o", str(out), "--at-once", "4"]
    words += ["-g", "do_sample=false", "-g", "max_new_tokens=32", "--ray", cluster.address]
    env = {
        **os.environ,
        "OVRECIPE_PROJECT": str(smollm2_project.root),
        "OVRECIPE_STORE": str(smollm2_project.store_dir),
        "OVRECIPE_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "ovrecipe", *words]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "2 engines on the Ray cluster" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        while not (out.is_file() and out.read_text().count("\n") > 2):
            assert process.poll() is None, said + process.stderr.read()
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        said += process.stderr.read()
    assert process.returncode == 0, said
    assert "lost an engine on" in said
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["number"] for row in rows] == [*range(LINES)]
    assert all(row["answer"] for row in rows)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert f"{LINES} lines of" in done.stderr
    assert out.read_text().count("\n") == LINES
