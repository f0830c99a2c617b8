"""`ovrecipe batch` with the real model: a file, a pipe, a kill, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.model
TARGET = "smollm2-135m:int4"
GREEDY = ("-g", "do_sample=false", "-g", "max_new_tokens=12")


@pytest.fixture
def env(smollm2_project):
    """Where the real model is."""
    return {
        "OVRECIPE_PROJECT": str(smollm2_project.root),
        "OVRECIPE_STORE": str(smollm2_project.store_dir),
    }


def lines(count):
    """Return so many questions."""
    return [json.dumps({"instruction": f"Name river {number}."}) for number in range(count)]


def test_a_file_is_answered_and_what_is_answered_is_not_asked_again(ovrecipe, env, tmp_path):
    """The second run has one line to do, behind a half one."""
    asked, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    asked.write_text("\n".join([*lines(3), "", "no JSON"]) + "\n")
    done = ovrecipe("batch", TARGET, str(asked), "-o", str(out), "--json", *GREEDY, env=env)
    assert done.code == 0
    told = json.loads(done.out)
    assert (told["answered"], told["errors"], told["kept"]) == (4, 1, 0)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(row["answer"] for row in rows[:3])
    whole = out.read_text()
    out.write_text(whole[: whole.index("\n") + 20])
    done = ovrecipe("batch", TARGET, str(asked), "-o", str(out), *GREEDY, env=env)
    assert "1 line of" in done.said
    assert "3 lines answered, 1 error" in done.said
    assert len(out.read_text().splitlines()) == 4
    assert out.read_text().splitlines()[0] == whole.splitlines()[0]


def test_a_pipe_is_answered_on_stdout(ovrecipe, env):
    """With a schema that one line keeps and another cannot have."""
    body = {"model": "", "messages": [{"role": "user", "content": "A person?"}], "max_tokens": 40}
    person = {"type": "object", "properties": {"age": {"type": "integer", "maximum": 99}}}
    person |= {"required": ["age"], "additionalProperties": False}

    def line(schema):
        kept = {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}
        return json.dumps({"custom_id": "x", "body": {**body, "response_format": kept}})

    stdin = "\n".join([line(person), line({"type": "nonsense"})]).encode()
    done = ovrecipe("batch", TARGET, "-", env=env, stdin=stdin)
    first, second = (json.loads(text)["response"] for text in done.out.splitlines())
    said = first["body"]["choices"][0]["message"]["content"]
    assert set(json.loads(said)) == {"age"}
    assert second["status_code"] == 400


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on(env, tmp_path, ovrecipe):
    """Each line is there once in the end."""
    asked, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    asked.write_text("\n".join(lines(60)))
    words = ["batch", TARGET, str(asked), "-o", str(out), "--at-once", "2", *GREEDY]
    with subprocess.Popen(
        [sys.executable, "-m", "ovrecipe", *words],
        env={**os.environ, **env},
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (out.is_file() and out.read_text().count("\n") > 2):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    before = out.read_text().splitlines()[:2]
    assert ovrecipe(*words, env=env).code == 0
    rows = out.read_text().splitlines()
    assert rows[:2] == before
    assert [json.loads(row)["instruction"] for row in rows] == [
        json.loads(line)["instruction"] for line in lines(60)
    ]


def test_what_cannot_be_is_refused_before_a_model_is_loaded(ovrecipe, env, tmp_path):
    """Files that are not there, and figures that nobody could tell from answers."""
    missing = str(tmp_path / "none.jsonl")
    assert ovrecipe("batch", TARGET, missing, env=env).code == 12
    assert ovrecipe("batch", TARGET, "-", "--json", env=env).code == 2
    done = ovrecipe("batch", TARGET, "-", "-g", "temprature=1", env=env, stdin=b'{"prompt": "?"}')
    assert done.code == 11
    assert "perhaps you meant 'temperature'" in done.said
