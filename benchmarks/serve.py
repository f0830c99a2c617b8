"""`ovrecipe serve` and `batch` against bare continuous batching, of the same prompts.

    python benchmarks/serve.py smollm2-135m:int4

Both sides are loaded once and take turns within each round: the bare side calls `generate` of
GenAI's pipeline with all prompts in this process, the server's side has so many clients on
loopback, each a raw socket of this process, that stream 64 tokens of one prompt. A round's ratio is
the clients' tokens a second over the bare side's; shown is the median over rounds. Besides: the
first token of one client against the first step of the bare pipeline, clients of which half leave
in the middle, a batch of 500 lines, and the same batch killed at three random moments. Each figure
is printed when it is known. Quiet machines only: `load_average` says if it was one.

    python benchmarks/serve.py smollm2-135m:int4 --clients '' --rounds 0    # the killed batch alone
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any, Self
from urllib.request import urlopen

import ovrecipe
from ovrecipe import Engine

PROMPTS = (
    "Tell me about {} and {}.",
    "river",
    "bird",
    "bread",
    "ship",
    "tree",
    "town",
    "song",
    "sea",
)
#: How many tokens are asked for before anything is measured.
WARMING = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Serving against bare continuous batching.")
    parser.add_argument("target", nargs="?", default="smollm2-135m:int4")
    parser.add_argument("--clients", default="1,8,32,64", help="'' leaves out the server")
    parser.add_argument("--rounds", type=int, default=5, help="0 leaves out what is compared")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=500, help="lines; 0 leaves out both batches")
    parser.add_argument("--kills", type=int, default=3, help="0 leaves out the killed batch")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments at which it is killed"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    facts: dict[str, Any] = {}
    for found in measured(options):
        facts |= found
        if not options.json:
            for name, value in found.items():
                print(f"{name:32} {value}", flush=True)
    if options.json:
        print(json.dumps(facts, indent=2))


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield figures as they become known."""
    yield {
        "target": options.target,
        "tokens": options.tokens,
        "rounds": options.rounds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    sizes = [int(size) for size in options.clients.split(",") if size]
    if options.rounds:
        with ovrecipe.load_engine(options.target) as engine:
            if sizes:
                with Server(options.target) as server:
                    for size in sizes:
                        yield compared(engine, server, size, options)
                    yield first_tokens(engine, server, options)
                    yield leavers(server, max(sizes), options)
            if options.batch:
                yield batch(engine, options)
    if options.batch and options.kills:
        yield killed(options)


class Server:
    """A server of the target in a process of its own."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "ovrecipe", "serve", self.target, "--port", "0"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"at http://(\S+):(\d+)", line):
                self.host, self.port, self.pid = found[1], int(found[2]), self._process.pid
                # What it says from now on is read, for a pipe that is full would hold it up.
                Thread(target=self._process.stderr.read, daemon=True).start()
                return self
        raise SystemExit("the server did not start")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def metric(self, name: str) -> float:
        """Return the value of a metric."""
        with urlopen(f"http://{self.host}:{self.port}/metrics") as response:
            found = re.search(rf"^{name}\{{.*\}} (\S+)$", response.read().decode(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])


def prompts(count: int, seed: int) -> list[str]:
    """Return different prompts of nearly the same length."""
    form, *words = PROMPTS
    made = [form.format(words[n % 8], words[(n // 8 + seed) % 8]) for n in range(count)]
    return [f"{text} ({seed} {number})" for number, text in enumerate(made)]


def compared(
    engine: Engine, server: Server, size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the speeds of both sides with so many requests at once."""
    rounds = []
    warming = prompts(size, 0)
    bare(engine, warming, WARMING)
    asyncio.run(served(server, warming, WARMING))
    for number in range(1, options.rounds + 1):
        asked = prompts(size, number)
        of_bare = bare(engine, asked, options.tokens)
        rounds.append((of_bare, asyncio.run(served(server, asked, options.tokens))))
    return {
        f"bare_{size}_tokens_per_second": round(median(bare for bare, _ in rounds), 1),
        f"served_{size}_tokens_per_second": round(median(served for _, served in rounds), 1),
        f"served_{size}_ratio": round(median(served / bare for bare, served in rounds), 3),
    }


def bare(engine: Engine, asked: list[str], tokens: int) -> float:
    """Return the tokens a second of one call of GenAI's own."""
    pipeline: Any = engine.pipeline
    inputs, configs = [], []
    for text in asked:
        rendered = engine.template.rendered([{"role": "user", "content": text}])
        inputs.append(pipeline.encode(rendered.text, add_special_tokens=False).ids.input_ids)
        wanted = {"max_new_tokens": tokens, "ignore_eos": True, "do_sample": False}
        configs.append(pipeline.configure(wanted))
    began = time.perf_counter()
    results = pipeline.llm.generate(inputs, configs)
    seconds = time.perf_counter() - began
    return sum(len(result.m_generation_ids[0]) for result in results) / seconds


async def served(server: Server, asked: list[str], tokens: int, *, leaving: int = 0) -> float:
    """Return the tokens a second of clients that stay; so many of the others leave half-way."""
    began = time.perf_counter()
    last = len(asked) - leaving
    counts = await asyncio.gather(
        *(
            stream(server, text, tokens, leave=tokens // 2 if n >= last else None)
            for n, text in enumerate(asked)
        )
    )
    return sum(count for count, _ in counts[:last]) / (time.perf_counter() - began)


async def stream(
    server: Server, text: str, tokens: int, *, leave: int | None = None
) -> tuple[int, float]:
    """Return how many tokens a client was told, and the seconds to the first; may leave early."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    body = json.dumps(
        {
            "model": server.target,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    began = time.perf_counter()
    writer.write(head.encode() + body)
    first, seen, told = 0.0, 0, 0
    async for line in reader:
        if b'"content": "' in line and b'"role"' not in line:
            first = first or time.perf_counter() - began
            seen += 1
            if seen == leave:
                break
        if found := re.search(rb'"completion_tokens": (\d+)', line):
            told = int(found[1])
    writer.close()
    return told, first


def first_tokens(engine: Engine, server: Server, options: argparse.Namespace) -> dict[str, Any]:
    """Return the milliseconds to the first token, of one client and of the bare pipeline."""
    pipeline: Any = engine.pipeline
    both = []
    for number in range(3 * options.rounds):
        (text,) = prompts(1, 1000 + number)
        rendered = engine.template.rendered([{"role": "user", "content": text}])
        wanted = {"max_new_tokens": 8, "ignore_eos": True, "do_sample": False}
        began = time.perf_counter()
        tokens = pipeline.encode(rendered.text, add_special_tokens=False)
        answering = pipeline.add(tokens, pipeline.configure(wanted))
        while answering.read() is None:
            pipeline.step()
        of_bare = time.perf_counter() - began
        while pipeline.llm.has_non_finished_requests():
            pipeline.step()
        _, of_client = asyncio.run(stream(server, text, 8))
        both.append((1000 * of_bare, 1000 * of_client))
    return {
        "bare_first_token_ms": round(median(one for one, _ in both), 1),
        "served_first_token_ms": round(median(one for _, one in both), 1),
        "first_token_overhead_ms": round(median(client - bare for bare, client in both), 1),
    }


def leavers(server: Server, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what clients that leave cost those that stay, and what they leave behind."""
    half = size // 2
    never_there, all_stayed = [], []
    for number in range(options.rounds):
        # Each of other prompts, which the cache of prefixes does not know.
        none, some, all_of_them = (prompts(size, seed + number) for seed in (100, 200, 300))
        alone = asyncio.run(served(server, none[:half], options.tokens))
        beside = asyncio.run(served(server, some, options.tokens, leaving=half))
        whole = asyncio.run(served(server, all_of_them, options.tokens))
        never_there.append(beside / alone)
        all_stayed.append(beside / (whole / 2))
    asyncio.run(stream(server, "Hi", 1))
    return {
        "stayed_against_never_there": round(median(never_there), 3),
        "stayed_against_all_stayed": round(median(all_stayed), 3),
        "cache_promised_afterwards": server.metric("ovrecipe_kv_cache_usage_ratio"),
    }


def batch(engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    """Return the speed of `ovrecipe batch` against one bare call of the same prompts."""
    asked = prompts(options.batch, 7)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(max(options.rounds // 2, 1)):
            of_bare = bare(engine, asked, options.tokens)
            command = batch_command(Path(folder), f"{number}.jsonl", asked, options)
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            ratios.append(json.loads(done.stdout)["throughput"] / of_bare)
    return {f"batch_{options.batch}_ratio": round(median(ratios), 3)}


def batch_command(
    folder: Path, out: str, asked: list[str], options: argparse.Namespace
) -> list[str]:
    """Write a batch's input, and return the command that answers it."""
    generation = {"max_new_tokens": options.tokens, "ignore_eos": True, "do_sample": False}
    lines = [
        json.dumps({"instruction": text, "generation": generation, "number": number})
        for number, text in enumerate(asked)
    ]
    (folder / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    words = ["batch", options.target, str(folder / "in.jsonl"), "-o", str(folder / out), "--json"]
    return [sys.executable, "-m", "ovrecipe", *words]


def killed(options: argparse.Namespace) -> dict[str, Any]:
    """Return whether each line is once and in order in a batch that is killed and gone on with.

    Each moment is a random number of lines that are written, and up to a second after.
    """
    chance = random.Random(options.seed)
    written = sorted(chance.sample(range(options.batch * 9 // 10), options.kills))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.jsonl"
        command = batch_command(Path(folder), out.name, prompts(options.batch, 8), options)
        at = [killed_when(command, out, count, chance.random()) for count in written]
        subprocess.run(command, capture_output=True, check=True)
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    numbers = [row.get("number") for row in rows]
    return {
        f"batch_{options.batch}_killed": {
            "lines_at_each_kill": at,
            "each_line_once_in_order": numbers == [*range(options.batch)],
            "answered": sum(bool(row.get("answer")) for row in rows),
        }
    }


def killed_when(command: list[str], out: Path, count: int, seconds: float) -> int | None:
    """Kill a batch some time after so many lines are in its output, and return how many were.

    None is returned of a batch that had ended before.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and lines_of(out) < count:
            time.sleep(0.02)
        time.sleep(seconds)
        process.kill()
    return lines_of(out) if process.returncode == -signal.SIGKILL else None


def lines_of(path: Path) -> int:
    """Return how many whole lines a file has; of one that is not there, none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    main()
