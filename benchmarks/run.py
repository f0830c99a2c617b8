"""Tokens per second: the streamed route of `ovrecipe run` against a bare `LLMPipeline.generate`.

    python benchmarks/run.py smollm2-135m:int4

Both sides use one loaded model, the same prompt tokens, greedy decoding and the same number of
tokens, in turns within each round; each side's time is wall time from call to end. The streamed
side is Runner, three filters and the console frontend, writing to a pipe that another process
drains. Besides: how long a caller waits after `cancel`, while the model answers and while it
still reads a prompt of 4,000 words; above the 0.3 s that are promised it exits with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from ovrecipe.builtin.frontends import ConsoleFrontend
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.hooks.provided import validated
from ovrecipe.hooks.roles import Console
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import find_project, split_target
from ovrecipe.run.artifact import find_artifact
from ovrecipe.run.chain import ChosenFilter, FilterChain
from ovrecipe.run.genai import GenaiPipeline, open_pipeline
from ovrecipe.run.prompt import read_template
from ovrecipe.run.runner import Runner

PROMISED_SECONDS = 0.3
INSTRUCTION = "Tell a long story about a ship that sails around the world."
FILTERS: dict[str, dict[str, Any]] = {
    "strip_markers": {"markers": ["<|im_end|>", "<|im_start|>"]},
    "stop_at": {"markers": ["### End"]},
    "hide_reasoning": {},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Streamed against bare generation.")
    parser.add_argument("target", nargs="?", default="smollm2-135m:int4")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pipeline, runner = opened(options.target)
    with runner:
        rounds = [one_round(pipeline, runner, options.tokens) for _ in range(options.rounds + 1)]
        answering = [cancelled(runner, INSTRUCTION, after=5) for _ in range(options.rounds)]
        reading = [cancelled(runner, "word " * 4000, after=0) for _ in range(options.rounds)]
    report(options, rounds[1:], answering, reading)  # the first round warms up
    if max(*answering, *reading) > PROMISED_SECONDS:
        sys.exit(f"cancelling took longer than the {PROMISED_SECONDS} s that are promised")


def opened(target: str) -> tuple[GenaiPipeline, Runner]:
    """Load the model once, for both sides."""
    project = find_project(Path.cwd(), dict(os.environ))
    name, variant = split_target(target)
    recipe = load_recipe(project, name)
    artifact = find_artifact(project, recipe, variant)
    pipeline = open_pipeline(artifact.model_dir, "CPU", properties={}, announce=print)
    plugins = load_plugins(env=project.env)
    filters = []
    for name, options in FILTERS.items():
        provided = plugins.provider("output_filter", name, recipe)
        filters.append(ChosenFilter(provided, validated(provided.traits.options_model, options)))
    runner = Runner(
        pipeline,
        recipe=recipe,
        variant=artifact.variant,
        template=read_template(artifact.model_dir),
        parameters=artifact.parameters(),
        filters=FilterChain(filters),
    )
    return pipeline, runner


def one_round(pipeline: GenaiPipeline, runner: Runner, tokens: int) -> tuple[float, float]:
    """Return the tokens per second of the bare and of the streamed side."""
    parameters: dict[str, Any] = {"max_new_tokens": tokens, "ignore_eos": True, "do_sample": False}
    return bare(pipeline, runner, parameters), streamed(runner, parameters)


def bare(pipeline: GenaiPipeline, runner: Runner, parameters: dict[str, Any]) -> float:
    """Generate without a streamer."""
    prompt = runner.render(runner.conversation(INSTRUCTION))
    ids = pipeline.encode(prompt, add_special_tokens=False).ids
    config = pipeline.configure(parameters)
    start = time.perf_counter()
    encoded = pipeline.llm.generate(ids, config)
    seconds = time.perf_counter() - start
    return len(encoded.tokens[0]) / seconds


def streamed(runner: Runner, parameters: dict[str, Any]) -> float:
    """Show the answer on a pipe that another process reads."""
    read_end, write_end = os.pipe()
    drain = "import sys\nwhile sys.stdin.buffer.read1(65536): pass"
    reader = subprocess.Popen([sys.executable, "-c", drain], stdin=read_end)
    os.close(read_end)
    pipe = os.fdopen(write_end, "w", encoding="utf-8")
    time.sleep(0.3)  # the reader's own start is no part of the measurement
    start = time.perf_counter()
    with runner.stream(INSTRUCTION, **parameters) as answer:
        ConsoleFrontend().show(answer, Console(out=pipe, err=sys.stderr))
    seconds = time.perf_counter() - start
    pipe.close()
    reader.wait()
    generated = answer.result.generated_tokens
    assert generated is not None
    assert generated == parameters["max_new_tokens"], answer.result
    return generated / seconds


def cancelled(runner: Runner, instruction: str, *, after: int) -> float:
    """Return the seconds from `cancel` to the end of the loop, `after` some segments."""
    answer = runner.stream(instruction, max_new_tokens=4000, ignore_eos=True, do_sample=False)
    segments = iter(answer)
    for _ in range(after):
        next(segments)
    start = time.perf_counter()
    answer.cancel()
    remaining = list(segments)
    seconds = time.perf_counter() - start
    assert answer.result.finish_reason == "cancelled", remaining
    return seconds


def report(
    options: argparse.Namespace,
    rounds: list[tuple[float, float]],
    answering: list[float],
    reading: list[float],
) -> None:
    """Print medians and their ratio; the ratio is the median of the rounds' own ratios."""
    facts = {
        "target": options.target,
        "tokens": options.tokens,
        "rounds": len(rounds),
        "bare_tokens_per_second": round(median(speeds[0] for speeds in rounds), 1),
        "streamed_tokens_per_second": round(median(speeds[1] for speeds in rounds), 1),
        "ratio": round(median(speeds[1] / speeds[0] for speeds in rounds), 3),
        "cancelled_answering_ms": round(1000 * max(answering), 1),
        "cancelled_reading_ms": round(1000 * max(reading), 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
