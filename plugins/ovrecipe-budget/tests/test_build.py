"""A recipe with budgets, built by the command line on a twin of SmolLM2.

`benchmarks/budget.py` goes the same way with the real model, whose measurement takes a minute.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.model
BUDGETS = {"int4-tight": {"max_size_mb": 0.9}, "int4-wide": {"bits_per_weight": 6.0}}


class Project(NamedTuple):
    """Where a project has what."""

    recipes_dir: Path
    models_dir: Path
    store_dir: Path


def ovrecipe(project: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a project, and do not fail for it."""
    env = {**os.environ, "OVRECIPE_STORE": str(project.store_dir), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ovrecipe", *arguments],
        cwd=project.recipes_dir.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def write_recipe(project: Any, name: str, budgets: dict[str, Any]) -> None:
    """Write a recipe of the twin."""
    variants = {
        name: {"compressor": "budget", "options": options} for name, options in budgets.items()
    }
    document = {
        "model": {"id": "./checkpoint"},
        "prompt": {"template": "{instruction}"},
        "variants": variants,
    }
    (project.recipes_dir / f"{name}.yaml").write_text(json.dumps(document), encoding="utf-8")


def built(project: Any, variant: str) -> tuple[int, dict[str, Any]]:
    """Return the size of a variant's weights, and the facts of its pass."""
    directory = project.models_dir / "budgets" / variant
    assembled = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    weights = project.store_dir / "weights" / assembled["key"]["inputs"]["weights"]
    manifest = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    [facts] = manifest["facts"]["passes"]
    return (directory / "openvino_model.bin").stat().st_size, facts


def make_twin(folder: Path) -> None:
    """Write a checkpoint as SmolLM2's, of random weights and eight narrow layers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM

    names = {"bos_token": "<s>", "eos_token": "</s>"}
    vocabulary = [*names.values(), *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(
        models.BPE({token: number for number, token in enumerate(vocabulary)}, [])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(names.values()))
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    torch.manual_seed(20)
    config = AutoConfig.for_model(
        "llama", vocab_size=len(vocabulary), hidden_size=128, intermediate_size=256,
        num_hidden_layers=8, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project with the checkpoint of a twin."""
    root = tmp_path_factory.mktemp("twin")
    (root / "recipes").mkdir()
    make_twin(root / "recipes" / "checkpoint")
    return Project(root / "recipes", root / "models", root / "store")


def test_budgets_are_kept_and_the_model_answers(twin: Any) -> None:
    """The whole route: two budgets from one pass, checked by the graph's own gate, and asked."""
    write_recipe(twin, "budgets", BUDGETS)
    done = ovrecipe(twin, "build", *(f"budgets:{variant}" for variant in BUDGETS))
    assert done.returncode == 0, done.stderr
    tight, facts = built(twin, "int4-tight")
    assert 0.9 * 900_000 < tight <= 900_000
    wide, more = built(twin, "int4-wide")
    assert wide <= 6.0 * 1_245_696 / 8
    assert more["expected_divergence"] < facts["expected_divergence"]
    words = ("budgets:int4-tight", "Say it.", "--greedy", "--max-new-tokens", "8")
    assert ovrecipe(twin, "run", *words).stdout.strip()


@pytest.mark.parametrize(
    ("options", "codes", "message"),
    [
        # 3 is the recipe's, 6 the preflight's, 7 the stage's: the first that can know.
        ({"max_size_mb": 0}, (3, 6), "options.max_size_mb: .*greater than 0"),
        ({}, (3, 6), "give either max_size_mb or bits_per_weight"),
        ({"max_size_mb": 0.5}, (6,), r"at 4 bits the weights alone take 0\.6 MB"),
        ({"max_size_mb": 0.63}, (7,), "max_size_mb: 0.63 is too small: the smallest possible are"),
    ],
)
def test_a_wrong_budget_is_refused_without_a_traceback(
    options: dict[str, Any], codes: tuple[int, ...], message: str, twin: Any
) -> None:
    """By the command line, with its own exit code."""
    write_recipe(twin, "wrong", {"int4-wrong": options})
    done = ovrecipe(twin, "build", "wrong:int4-wrong")
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert done.returncode in codes
