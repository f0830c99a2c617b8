"""The figures of `ovrecipe evaluate`, against torch with the variant's weights put into it.

    python benchmarks/quality.py smollm2-135m int4 int8
    python benchmarks/quality.py smollm2-135m int4 --json

Nothing of ovrecipe computes the other side: transformers reads the checkpoint in float32 and
tokenizes the texts, the compressed integers of the IR are unpacked and scaled with numpy, put in
the place of the checkpoint's matrices, and both are run by torch. The divergence is taken twice:
as `evaluate` defines it (1,024 likeliest tokens, all others as one) and over the whole vocabulary.
Needs the built variants, `ovrecipe[build]`, and nothing of the network.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from openvino import Core
from transformers import AutoModelForCausalLM, AutoTokenizer

from ovrecipe.build.context import BuildContext
from ovrecipe.recipe.project import find_project

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 1024
TARGET = 1e-3
#: Paragraphs of the project's own manual: prose, names, code.
PAGES = ("docs/running.md", "docs/recipes.md", "docs/store.md", "docs/compression.md")
TOKENS = 2000


def main() -> None:
    """Compute both sides and print their relative differences."""
    parser = argparse.ArgumentParser(description="Figures of evaluate, against torch.")
    parser.add_argument("name", nargs="?", default="smollm2-135m")
    parser.add_argument("variants", nargs="*", default=["int4", "int8"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = find_project(Path.cwd(), dict(os.environ))
    plan = BuildContext(project).plan(options.name)
    source_key = plan.key("source")
    assert source_key is not None, "build it first"
    checkpoint_dir = plan.context.store.artifact_dir(source_key) / "checkpoint"
    source = AutoModelForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_dir)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "texts.jsonl"
        texts = list(paragraphs(tokenizer))
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        ids = [tokenizer(text)["input_ids"] for text in texts]
        expected = [log_probabilities(source, each) for each in ids]
        own = {name: value.clone() for name, value in source.state_dict().items()}
        for variant in options.variants:
            ours = said_by_evaluate(f"{options.name}:{variant}", data)
            weights = decompressed(project.models_dir / options.name / variant)
            source.load_state_dict({**own, **with_tied(weights, source.state_dict())})
            theirs = figures(ids, expected, [log_probabilities(source, each) for each in ids])
            rows.append({"variant": variant, "matrices": len(weights), **both(ours, theirs)})
    found = {"rows": rows, "machine": machine()}
    print(json.dumps(found, indent=2) if options.json else shown(found))
    worst = max(abs(row[name]["relative"]) for row in rows for name in ("mean_kl", "perplexity"))
    if worst > TARGET:
        sys.exit(f"they differ by {worst:.1e}, more than {TARGET:g}")


def paragraphs(tokenizer: Any) -> Iterator[str]:
    """Yield paragraphs that are short enough to be read in one piece."""
    root, count = Path(__file__).parent.parent, 0
    for page in PAGES:
        for text in (root / page).read_text("utf-8").split("\n\n"):
            length = len(tokenizer(text)["input_ids"])
            if 40 <= length <= 400 and count + length <= TOKENS:
                count += length
                yield text.strip()


def log_probabilities(model: Any, ids: list[int]) -> NDArray[np.float64]:
    """Return those of what follows each token, (length - 1, vocabulary)."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids[:-1]])).logits[0]
    found: NDArray[np.float64] = torch.log_softmax(logits.double(), dim=-1).numpy()
    return found


def figures(
    ids: list[list[int]], expected: list[NDArray[np.float64]], found: list[NDArray[np.float64]]
) -> dict[str, float]:
    """Return the figures, by their definitions."""
    whole, grouped, own, others, same = [], [], [], [], []
    for tokens, source, variant in zip(ids, expected, found, strict=True):
        whole.append((np.exp(source) * (source - variant)).sum(-1))
        order = np.argpartition(source, -TOP, axis=-1)
        top, rest = order[:, -TOP:], order[:, :-TOP]
        pairs = [np.take_along_axis(each, top, -1) for each in (source, variant)]
        behind = [np.exp(np.take_along_axis(each, rest, -1)).sum(-1) for each in (source, variant)]
        listed = (np.exp(pairs[0]) * (pairs[0] - pairs[1])).sum(-1)
        grouped.append(listed + behind[0] * np.log(behind[0] / behind[1]))
        places = np.arange(len(tokens) - 1), np.array(tokens[1:])
        own.append(source[places])
        others.append(variant[places])
        same.append(source.argmax(-1) == variant.argmax(-1))
    mean = [float(np.concatenate(each).mean()) for each in (grouped, whole, own, others, same)]
    return {
        "mean_kl": mean[0],
        "whole_kl": mean[1],
        "source_perplexity": math.exp(-mean[2]),
        "perplexity": math.exp(-mean[3]),
        "perplexity_ratio": math.exp(mean[2] - mean[3]),
        "same_top": mean[4],
        "tokens": sum(map(len, same)),
    }


def decompressed(ir_dir: Path) -> dict[str, torch.Tensor]:
    """Return the matrices of an IR by the names that the checkpoint has for them."""
    model = Core().read_model(ir_dir / "openvino_model.xml")
    constants = {op.get_friendly_name(): op for op in model.get_ops() if is_constant(op)}
    found = {}
    for name, op in constants.items():
        if f"{name}/scale" in constants:
            zero = constants.get(f"{name}/zero_point")
            shift = 0 if zero is None else integers(zero)
            scale = np.asarray(constants[f"{name}/scale"].data, np.float32)
            matrix = (integers(op) - shift) * scale
            plain = name.removeprefix("self.").replace("._openvino_orig_weight", ".weight")
            found[plain] = torch.from_numpy(matrix.reshape(len(matrix), -1))
    return found


def with_tied(
    weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return weights under every name that the checkpoint's model has for the same memory."""
    places = {own[name].data_ptr(): matrix for name, matrix in weights.items()}
    return {
        name: places[value.data_ptr()] for name, value in own.items() if value.data_ptr() in places
    }


def is_constant(op: Any) -> bool:
    """Return whether an operation of an IR is a constant."""
    return bool(op.get_type_name() == "Constant")


def integers(op: Any) -> NDArray[np.float32]:
    """Return a constant of 8 or 4 bits; of the latter two are in a byte, the lower one first."""
    shape, kind = tuple(op.shape), op.get_element_type().get_type_name()
    data = np.asarray(op.data)
    if kind == "u4":
        packed = data.view(np.uint8).reshape(-1)
        data = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[: math.prod(shape)]
    elif kind not in {"u8", "i8"}:
        sys.exit(f"{op.get_friendly_name()} is stored as {kind}, which this script does not read")
    return data.reshape(shape).astype(np.float32)


def said_by_evaluate(target: str, data: Path) -> dict[str, Any]:
    """Return what the command says of a variant."""
    command = [sys.executable, "-m", "ovrecipe", "evaluate", target, "--data", str(data), "--json"]
    done = subprocess.run([*command, "--tokens", "100000"], stdout=subprocess.PIPE, check=True)
    [found] = json.loads(done.stdout)["evaluations"]
    return dict(found)


def both(ours: dict[str, Any], theirs: dict[str, float]) -> dict[str, Any]:
    """Return each figure of both sides and their relative difference."""
    return {
        name: {
            "evaluate": ours.get(name),
            "torch": value,
            "relative": ours[name] / value - 1 if name in ours else None,
        }
        for name, value in theirs.items()
    }


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    packages = ("openvino", "torch", "transformers", "nncf")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def shown(found: dict[str, Any]) -> str:
    """Return a table."""
    lines = [f"{'':28}{'evaluate':>14}{'torch':>14}{'relative':>11}"]
    for row in found["rows"]:
        for name in (name for name in row if isinstance(row[name], dict)):
            cells = row[name]
            ours = "" if cells["evaluate"] is None else f"{cells['evaluate']:.6f}"
            relative = "" if cells["relative"] is None else f"{cells['relative']:.1e}"
            label = f"{row['variant']} {name}"
            lines.append(f"{label:28}{ours:>14}{cells['torch']:>14.6f}{relative:>11}")
    versions = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
    return "\n".join([*lines, versions])


if __name__ == "__main__":
    main()
