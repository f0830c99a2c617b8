"""What a chain of five filters costs, against the time that its answer takes to generate.

    python benchmarks/filters.py smollm2-135m:int4

Needs `pip install -e plugins/ovrecipe-redact`. The answer is real: the model's own, with phone
numbers, addresses and keys put between its tokens, so that the filters have something to do. It
passes the chain in the pieces in which it came. Generation is a bare `generate` with a streamer
that does nothing but note when each piece comes, in the same process and the same rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import find_project, split_target
from ovrecipe.recipe.schema import Output
from ovrecipe.run.artifact import find_artifact
from ovrecipe.run.chain import FilterChain, chosen_filters
from ovrecipe.run.genai import GenaiPipeline, open_pipeline

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe

PROMPT = "Tell a long story about a ship that sails around the world."
CHAIN: tuple[Any, ...] = (
    {"strip_markers": {"markers": ["<|im_end|>", "<|im_start|>"]}},
    {"stop_at": {"markers": ["### End", "### Instruction:"]}},
    {"hide_reasoning": None},
    {"redact": {"patterns": {"employee": r"E-\d{6}\b", "host": r"(?i)\b[a-z0-9-]+\.corp\b"}}},
    {"strip_markers": {"markers": ["[phone]"]}},
)
PRIVATE = (
    " ada@", "example", ".org", " +49", " 89", " 123", "4567", " 4111", " 1111", " 1111", " 1111",
    " sk-", "aB3_" * 3, "aB3_" * 5, " E-", "123", "456",
)  # fmt: skip
#: A secret comes after this many tokens.
EVERY = 100
TARGET = 0.02


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Five filters against generation.")
    parser.add_argument("target", nargs="?", default="smollm2-135m:int4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recipe, pipeline = opened(options.target)
    filters = chosen_filters(recipe, load_plugins(env=dict(os.environ)))
    generated(pipeline, 16)  # the first inference is slow
    rounds = [one_round(pipeline, filters, options.tokens) for _ in range(options.rounds)]
    report(options, rounds)


def opened(target: str) -> tuple[Recipe, GenaiPipeline]:
    """Load the model, and its recipe with the five filters."""
    project = find_project(Path.cwd(), dict(os.environ))
    name, variant = split_target(target)
    recipe = load_recipe(project, name)
    artifact = find_artifact(project, recipe, variant)
    pipeline = open_pipeline(artifact.model_dir, "CPU", properties={}, announce=print)
    return recipe.model_copy(update={"output": Output(filters=CHAIN)}), pipeline


def one_round(pipeline: GenaiPipeline, filters: FilterChain, tokens: int) -> dict[str, float]:
    """Return the seconds of generation, of the chain, and what it costs without a match."""
    seconds, pieces = generated(pipeline, tokens)
    return {
        "pieces": len(pieces),
        "generation": seconds,
        "chain": min(through(filters, with_secrets(pieces)) for _ in range(5)),
        "chain_without_matches": min(through(filters, pieces) for _ in range(5)),
    }


def generated(pipeline: GenaiPipeline, tokens: int) -> tuple[float, list[str]]:
    """Return how long an answer took, and its pieces as they came."""
    pieces: list[str] = []
    config = pipeline.configure({"max_new_tokens": tokens, "ignore_eos": True, "do_sample": False})
    encoded = pipeline.encode(PROMPT, add_special_tokens=False)

    def note(text: str) -> bool:
        pieces.append(text)
        return True

    start = time.perf_counter()
    pipeline.generate(encoded, config, note)
    return time.perf_counter() - start, pieces


def with_secrets(pieces: list[str]) -> list[str]:
    """Put secrets between the tokens, and keep their number."""
    mixed: list[str] = []
    for start in range(0, len(pieces), EVERY):
        mixed += [*pieces[start : start + EVERY - len(PRIVATE)], *PRIVATE]
    return mixed[: len(pieces)]


def through(filters: FilterChain, pieces: list[str]) -> float:
    """Return how long the chain takes; each text has fresh filters."""
    start = time.perf_counter()
    for _ in filters.over(pieces):
        continue
    return time.perf_counter() - start


def report(options: argparse.Namespace, rounds: list[dict[str, float]]) -> None:
    """Print medians and the cost as a share of the generation of the same round."""
    share = median(figures["chain"] / figures["generation"] for figures in rounds)
    facts = {
        "target": options.target,
        "tokens": options.tokens,
        "pieces": int(median(figures["pieces"] for figures in rounds)),
        "rounds": len(rounds),
        "generation_ms": round(1e3 * median(figures["generation"] for figures in rounds)),
        "five_filters_ms": round(1e3 * median(figures["chain"] for figures in rounds), 1),
        "without_matches_ms": round(
            1e3 * median(figures["chain_without_matches"] for figures in rounds), 1
        ),
        "microseconds_per_token": round(
            1e6 * median(figures["chain"] for figures in rounds) / options.tokens, 1
        ),
        "share_of_generation": round(share, 4),
        "target_share": TARGET,
        "share_at_7_ms_per_token": round(
            median(figures["chain"] for figures in rounds) / (options.tokens * 0.007), 4
        ),
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
