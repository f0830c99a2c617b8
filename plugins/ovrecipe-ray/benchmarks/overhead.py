"""What a Ray cluster costs: the same prompts, and the same number of threads, in three ways.

    python plugins/ovrecipe-ray/benchmarks/overhead.py --project DIR [--lines 64] [--rounds 3]

- `one`: one process with one engine of two threads.
- `two`: two processes without Ray, an engine of one thread in each.
- `ray`: `ovrecipe batch --ray` with two nodes of one processor each.

Loading is not counted. In each round all ways are measured, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TOKENS = 32
#: How often the output is looked at, in seconds.
LOOK = 0.02
SMALL = {"object_store_memory": 100_000_000, "include_dashboard": False}
WORKER = """
import json, sys, ovrecipe
target, threads, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
lines = [json.loads(line)["instruction"] for line in sys.stdin]
with ovrecipe.load_engine(target, INFERENCE_NUM_THREADS=threads, most_waiting=9999) as engine:
    print("ready", flush=True)
    open(sys.argv[4]).read()
    asked = dict(do_sample=False, max_new_tokens=tokens, ignore_eos=True)
    answers = [engine.stream(line, **asked) for line in lines]
    print(sum(answer.result.generated_tokens for answer in answers), flush=True)
"""


def processes(target: str, shares: Sequence[Sequence[str]], threads: int, folder: Path) -> float:
    """Return tokens a second of so many processes, from when all are loaded to the last answer."""
    running = []
    for number, lines in enumerate(shares):
        gate = folder / f"gate{number}"
        gate.unlink(missing_ok=True)
        os.mkfifo(gate)
        words = [sys.executable, "-c", WORKER, target, str(threads), str(TOKENS), str(gate)]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdin is not None
        process.stdin.write("\n".join(lines).encode())
        process.stdin.close()
        running.append((process, gate))
    for process, _ in running:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    began = time.monotonic()
    for _, gate in running:
        gate.write_text("go")
    tokens = sum(int(process.stdout.readline()) for process, _ in running if process.stdout)
    seconds = time.monotonic() - began
    for process, _ in running:
        process.wait()
    return tokens / seconds


def on_ray(target: str, asked: Path, address: str) -> float:
    """Return tokens a second of a batch on a cluster, from when all are loaded to the last line."""
    out, lines = asked.with_name("out.jsonl"), len(asked.read_text().splitlines())
    out.unlink(missing_ok=True)
    words = ["batch", target, str(asked), "-o", str(out), "--ray", address]
    for option in (f"max_new_tokens={TOKENS}", "do_sample=false", "ignore_eos=true"):
        words += ["-g", option]
    command = [sys.executable, "-m", "ovrecipe", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "2 engines on the Ray cluster" not in process.stderr.readline():
            assert process.poll() is None
        began = time.monotonic()
        while not (out.is_file() and out.read_text().count("\n") == lines):
            time.sleep(LOOK)
        seconds = time.monotonic() - began
        process.stderr.read()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    return float(sum(row["generated_tokens"] for row in rows) / seconds)


def main() -> None:
    """Measure, and print a line of each round and the medians."""
    from ray.cluster_utils import Cluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--target", default="smollm2-135m:int4")
    parser.add_argument("--lines", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    os.environ["OVRECIPE_PROJECT"] = str(given.project.resolve())
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    lines = [json.dumps({"instruction": f"Name river {n}."}) for n in range(given.lines)]
    (folder / "in.jsonl").write_text("\n".join(lines))
    found: dict[str, list[float]] = {"one": [], "two": [], "ray": []}
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, temp_dir=str(folder / "r"), **SMALL)
        for _ in range(2):
            cluster.add_node(num_cpus=1, **SMALL)
        for _ in range(given.rounds):
            found["one"].append(processes(given.target, [lines], 2, folder))
            found["two"].append(processes(given.target, [lines[::2], lines[1::2]], 1, folder))
            found["ray"].append(on_ray(given.target, folder / "in.jsonl", cluster.address))
            print({way: round(speeds[-1], 1) for way, speeds in found.items()}, flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    one, two, ray = (statistics.median(found[way]) for way in found)
    print(f"tokens/s: one {one:.1f}, two {two:.1f}, ray {ray:.1f}")
    print(f"ray of one {ray / one:.2f}, ray of two {ray / two:.2f}, two of one {two / one:.2f}")


if __name__ == "__main__":
    main()
