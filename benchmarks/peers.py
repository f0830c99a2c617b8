"""First token and time a token: ovrecipe beside others on the same model.

    python benchmarks/peers.py smollm2-135m:int4 --rounds 5

In each round every side runs once, in turn and in a process of its own: it loads the model, warms
up, and answers prompts of exactly 32 and 512 token ids with exactly 64 tokens, greedily. The ids
are the same for all sides of a round and others in the next. A ratio is the median of the rounds'
own ratios, theirs to ours: above 1 ovrecipe is faster. Sides that are not installed are left out
and named, and Ctrl-C keeps the rounds that are whole. The recipe's source must be a GGUF file.

- ovrecipe: the pipeline of `ovrecipe run`, streaming
- GenAI: a bare `LLMPipeline.generate` over the same directory
- llama.cpp: llama-cpp-python on the GGUF that the recipe was made from
- optimum: optimum-intel's `OVModelForCausalLM` over the same directory
- transformers: torch on the checkpoint, in its own precision
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from ovrecipe.builtin.gguf import write_checkpoint
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.measure.engines import (
    Engine,
    Host,
    Ids,
    Ours,
    Times,
    check_count,
    vocabulary_of,
)
from ovrecipe.measure.peers import LLAMA_CPP, PEERS, Torchlike, is_installed
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import Subject, machine_name
from ovrecipe.measure.targets import subjects_of
from ovrecipe.measure.timing import figures_of
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project, find_project, split_target
from ovrecipe.run.artifact import find_artifact
from ovrecipe.run.genai import list_devices
from ovrecipe.version import package_version

SETTINGS = Settings(prompt_tokens=(32, 512), batch=(), new_tokens=64, warm_up=1)
OURS = "ovrecipe"
FIGURES = [f"{name}@{at}" for at in SETTINGS.prompt_tokens for name in ("ttft_ms", "tpot_ms")]


class Side(NamedTuple):
    """Who is measured: the module that must be installed, and how its engine is made."""

    module: str
    packages: tuple[str, ...]
    open: Callable[[Subject, Host, Path], Engine]


class BareGenai:
    """GenAI as its own examples use it."""

    def __init__(self, subject: Subject, host: Host, checkpoint_dir: Path) -> None:  # noqa: ARG002
        from openvino_genai import LLMPipeline

        name, variant = split_target(subject.target)
        model_dir = find_artifact(host.project, load_recipe(host.project, name), variant).model_dir
        began = time.perf_counter()
        self.pipeline = LLMPipeline(model_dir, "CPU")
        self.load_time_ms = (time.perf_counter() - began) * 1000
        self.vocabulary = vocabulary_of(model_dir)

    def answer(self, prompt: Ids, new_tokens: int) -> Times:
        """Generate without a streamer; the figures are GenAI's."""
        from numpy import array
        from openvino import Tensor
        from openvino_genai import GenerationConfig

        config = GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False)
        metrics = self.pipeline.generate(Tensor(array([prompt], "int64")), config).perf_metrics
        check_count(metrics.get_num_generated_tokens(), new_tokens)
        return Times(metrics.get_ttft().mean, metrics.get_tpot().mean)

    def throughput(self, prompts: Sequence[Ids], new_tokens: int) -> None:  # noqa: ARG002
        """Not asked for here."""
        return


def _transformers(subject: Subject, host: Host, checkpoint_dir: Path) -> Engine:  # noqa: ARG001
    from transformers import AutoModelForCausalLM

    return Torchlike(lambda: AutoModelForCausalLM.from_pretrained(checkpoint_dir))


SIDES = {
    OURS: Side("openvino_genai", ("openvino", "openvino-genai"), lambda s, h, _: Ours(s, h)),
    "GenAI": Side("openvino_genai", ("openvino-genai",), BareGenai),
    "llama.cpp": Side(
        "llama_cpp", ("llama-cpp-python",), lambda s, h, _: PEERS[LLAMA_CPP].open(s, h)
    ),
    "optimum": Side(
        "optimum.intel",
        ("optimum-intel", "transformers"),
        lambda s, h, _: PEERS["optimum"].open(s, h),
    ),
    "transformers": Side("transformers", ("transformers", "torch"), _transformers),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="ovrecipe beside others on the same model.")
    parser.add_argument("target", nargs="?", default="smollm2-135m:int4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(one_run(**json.loads(options.run))))
        return
    report(measured(options.target, options.rounds), as_json=options.json)


def here() -> Project:
    """Return the project of the working folder."""
    return find_project(Path.cwd(), dict(os.environ))


def measured(target: str, rounds: int) -> dict[str, Any]:
    """Let all sides run in turn and return their figures."""
    project = here()
    subject, gguf = subjects_of(
        [target],
        SETTINGS,
        project=project,
        read=lambda name: load_recipe(project, name),
        devices=["CPU"],
        peers=[LLAMA_CPP],
    )
    sides = [name for name, side in SIDES.items() if is_installed(side.module)]
    done: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory(prefix="ovrecipe-peers-") as folder:
        write_checkpoint(Path(str(gguf.path)), Path(folder), lambda *_, **__: None)
        try:
            for number in range(rounds):
                this_round = {}
                for name in sides:
                    of_side = gguf if name == "llama.cpp" else subject
                    job = {"side": name, "subject": asdict(of_side), "checkpoint_dir": folder}
                    this_round[name] = in_process({**job, "seed": number})
                    print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
                done.append(this_round)
        except KeyboardInterrupt:
            if not done:
                raise
    runs = {name: [each[name] for each in done] for name in sides}
    return {
        "target": target,
        "rounds": len(done),
        "new_tokens": SETTINGS.new_tokens,
        "machine": machine_name(list_devices()),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "left_out": [name for name in SIDES if name not in sides],
        "sides": {name: side_facts(name, runs) for name in sides},
    }


def in_process(job: Mapping[str, Any]) -> dict[str, float]:
    """Run one side once, in a process of its own."""
    command = [sys.executable, __file__, "--run", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job['side']} failed:\n{done.stderr[-4000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def one_run(
    side: str, subject: Mapping[str, Any], checkpoint_dir: str, seed: int
) -> dict[str, float]:
    """Load, warm up and measure; this is what the process does."""
    project = here()
    host = Host(project, load_plugins(env=project.env), print, SETTINGS.longest())
    engine = SIDES[side].open(Subject(**subject), host, Path(checkpoint_dir))
    return figures_of(engine, SETTINGS, seed=seed, progress=lambda *_, **__: None)


def side_facts(name: str, runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Return medians of a side, and how many times as long it took as we did."""
    pairs = list(zip(runs[name], runs[OURS], strict=True))
    return {
        "versions": {package: package_version(package) for package in SIDES[name].packages},
        "medians": {
            figure: round(median(run[figure] for run in runs[name]), 2) for figure in FIGURES
        },
        "ratios": {
            figure: round(median(run[figure] / ours[figure] for run, ours in pairs), 2)
            for figure in FIGURES
        },
        "load_time_ms": round(median(run["load_time_ms"] for run in runs[name])),
        "peak_memory_bytes": median(run["peak_memory_bytes"] for run in runs[name]),
    }


def report(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print a table as docs/performance.md has it, or all facts."""
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    print(f"{facts['target']}, {facts['machine']}, {facts['rounds']} rounds")
    print(f"| side | {' | '.join(FIGURES)} | load_time_ms | peak MB |")
    print("|---" * (len(FIGURES) + 3) + "|")
    for name, side in facts["sides"].items():
        cells = [f"{side['medians'][each]} ({side['ratios'][each]})" for each in FIGURES]
        memory = f"{side['peak_memory_bytes'] / 1e6:.0f}"
        versions = ", ".join(f"{package} {of}" for package, of in side["versions"].items())
        print(
            f"| {' | '.join([f'{name} ({versions})', *cells, str(side['load_time_ms']), memory])} |"
        )
    for name in facts["left_out"]:
        print(f"left out, not installed: {name}")


if __name__ == "__main__":
    main()
