"""`ovrecipe run`, `chat` and `devices`, as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ovrecipe.libraries import BELOW_AMX, ISA_LIMIT, THREADS, prepare_libraries

CAPITAL = "What is the capital of France?"


@pytest.fixture
def unbuilt(project):
    """A project with a recipe and nothing built."""
    (project.recipes_dir / "phi.yaml").write_text(
        "model: {id: org/phi}\nprompt: {template: '{instruction}'}\nvariants: {int4: {}}\n"
    )
    return project


@pytest.mark.parametrize(
    ("arguments", "stdin", "exit_code", "message"),
    [
        (["phi:int4", "hi"], b"", 10, "build it with: ovrecipe build phi:int4"),
        (["phi", "hi"], b"", 10, "build it with: ovrecipe build phi"),
        (["phi:int8", "hi"], b"", 3, "it has: int4"),
        (["phi", "  "], b"", 11, "the prompt is empty"),
        (["phi"], b"", 11, "the prompt is empty"),
        (["phi", "-"], b"caf\xe9", 11, "stdin is not UTF-8: byte 4 is 0xe9"),
        (["phi", "hi", "--frontend", "consol"], b"", 4, "perhaps you meant 'console'"),
        (["phi", "hi", "-g", "temperature"], b"", 2, "is not KEY=VALUE"),
        (["phj", "hi"], b"", 3, "phi"),
    ],
)
def test_bad_input_is_refused_by_name(ovrecipe, unbuilt, arguments, stdin, exit_code, message):
    """With its own exit code, before any model is loaded."""
    done = ovrecipe("run", *arguments, cwd=unbuilt.root, stdin=stdin)
    assert message in done.said
    assert done.code == exit_code
    assert done.out == ""


def test_bytes_of_the_command_line_that_are_no_text_are_refused(ovrecipe, unbuilt):
    """Python hands them over as lone surrogates."""
    done = ovrecipe.process("run", "phi", b"a\xff", cwd=unbuilt.root)
    assert "half a surrogate pair" in done.err
    assert done.code == 11


def test_importing_ovrecipe_is_cheap():
    """The names are there; what is behind them is not loaded, OpenVINO least of all."""
    code = (
        "import sys, ovrecipe; assert 'ovrecipe.run' not in sys.modules\n"
        "from ovrecipe import *; from ovrecipe import load, hookimpl\n"
        "heavy = {'openvino', 'openvino_genai', 'jinja2', 'rich', 'numpy', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stdout.decode().strip() == "[]", done.stderr.decode()


@pytest.mark.model
def test_devices_are_listed(ovrecipe):
    """For people and for programs."""
    listed = json.loads(ovrecipe("devices", "--json").out)
    assert "CPU" in [device["name"] for device in listed]
    assert all(device["full_name"] and device["capabilities"] for device in listed)
    assert "CPU" in ovrecipe("devices").out


@pytest.mark.model
def test_run_answers_from_stdin_and_says_which_variant(ovrecipe, smollm2_project):
    """Answers on stdout, everything else on stderr; a process, as users have it."""
    words = ("run", "smollm2-135m", "--greedy", "--stats")
    done = ovrecipe.process(*words, cwd=smollm2_project.root, stdin=f"{CAPITAL}\n".encode())
    assert done.code == 0
    assert "Paris" in done.out
    assert done.out.endswith("\n")
    assert "running smollm2-135m:int4" in done.err
    assert "tokens/s" in done.err


@pytest.mark.model
def test_run_prints_one_json_document(ovrecipe, smollm2_project):
    """For programs that want all of it."""
    words = ("run", "smollm2-135m:int4", CAPITAL, "--json", "--max-new-tokens", "5")
    result = json.loads(ovrecipe(*words, cwd=smollm2_project.root).out)
    assert result["finish_reason"] == "length"
    assert result["generated_tokens"] == 5
    assert result["metrics"]["ttft_ms"] > 0


@pytest.mark.model
def test_chat_takes_lines_from_a_pipe(ovrecipe, smollm2_project):
    """Scripts can talk too; commands are obeyed, not asked."""
    lines = b"Say hello.\n/stats\n\n/nonsense\nAgain.\n/exit\nnever\n"
    words = ("chat", "smollm2-135m:int4", "--greedy", "-g", "max_new_tokens=8")
    done = ovrecipe(*words, "--frontend", "jsonl", cwd=smollm2_project.root, stdin=lines)
    results = [json.loads(line) for line in done.out.splitlines()]
    answers = [event for event in results if event["event"] == "result"]
    assert done.code == 0
    assert len(answers) == 2
    assert answers[1]["prompt_tokens"] > answers[0]["prompt_tokens"]
    assert "there is no /nonsense" in done.err
    assert done.err.count("tokens/s") == 1


@pytest.fixture
def running(smollm2_project):
    """A process with a long answer whose first letter has come."""
    words = ("run", "smollm2-135m:int4", CAPITAL, "--max-new-tokens", "8000")
    with subprocess.Popen(
        [sys.executable, "-m", "ovrecipe", *words, "-g", "ignore_eos=true"],
        cwd=smollm2_project.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.read(1)
        yield process
        process.kill()


@pytest.mark.model
@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_ends_the_answer(running):
    """Before its 8,000 tokens, with the shell's own code for it and no traceback."""
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 130
    assert b"Traceback" not in err


@pytest.mark.model
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
def test_a_reader_that_leaves_ends_the_answer_quietly(running):
    """`ovrecipe run ... | head -1` is no error of anybody's."""
    running.stdout.close()
    assert running.wait() == 141
    assert running.stderr.read() == b""


@pytest.mark.model
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone gives processors out")
@pytest.mark.parametrize(
    ("processors", "properties"),
    [("{min(os.sched_getaffinity(0))}", ""), ("range(os.cpu_count())", "INFERENCE_NUM_THREADS=1")],
)
def test_a_model_of_16_bits_runs_with_one_thread(smollm2_project, processors, properties):
    """With AMX, OpenVINO ends such a process by SIGFPE."""
    code = (
        f"import os, sys; from pathlib import Path; os.sched_setaffinity(0, {processors})\n"
        "import ovrecipe; project = ovrecipe.find_project(Path(sys.argv[1]), {})\n"
        f"with ovrecipe.load('smollm2-135m:fp16', project=project, {properties}) as model:\n"
        "    model.generate('hi', max_new_tokens=2)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(smollm2_project.root)],
        env={name: value for name, value in os.environ.items() if name != ISA_LIMIT},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("env", "threads", "limit"),
    [({}, 1, BELOW_AMX), ({}, "1", BELOW_AMX), ({ISA_LIMIT: "ALL"}, 1, "ALL")],
)
def test_one_thread_is_kept_from_amx_unless_the_user_says_otherwise(env, threads, limit):
    """Also where this machine has none, to see it."""
    prepare_libraries({}, env, {THREADS: threads})
    assert env[ISA_LIMIT] == limit


@pytest.mark.model
def test_no_telemetry_module_is_loaded(smollm2_project):
    """OpenVINO's comes with it and sends by default."""
    code = (
        "import sys; from pathlib import Path; import ovrecipe\n"
        "project = ovrecipe.find_project(Path(sys.argv[1]), {})\n"
        "with ovrecipe.load('smollm2-135m:int4', project=project) as model:\n"
        "    model.generate('hi', max_new_tokens=1)\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry') "
        "and sys.modules[m]]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(smollm2_project.root))],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
