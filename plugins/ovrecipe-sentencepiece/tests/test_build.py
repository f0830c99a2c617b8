"""A real build with `tokenizer: {converter: sentencepiece}`, through the real gate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import gemma, metaspace, model_only, prepending

RECIPE = """\
model: {id: ./KIND}
tokenizer: {converter: sentencepiece}
prompt: {template: "<s>[INST] {instruction} [/INST]"}
variants:
  int8: {}
"""
SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


KINDS = {
    "alone": model_only,
    "prepend": prepending,
    "first": lambda folder: metaspace(folder, "first"),
    "gemma": gemma,
    "normalizing": lambda folder: model_only(folder, normalization_rule_name="nmt_nfkc"),
}


def add_weights(folder: Path) -> None:
    """Make a whole checkpoint of a tokenizer: two layers of random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(20)
    config = AutoConfig.for_model("llama", vocab_size=422, **SIZES)
    AutoModelForCausalLM.from_config(config, dtype=torch.float16).save_pretrained(folder)


def add_no_weights(folder: Path) -> None:
    """Make what a source takes for a checkpoint, and the stages of the tokenizer do not read."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(1, dtype=np.float16)}, folder / "model.safetensors")


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        input="", capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def project(folder: Path, *kinds: str) -> Path:
    """A project with recipes of the kinds' names, and their tokenizers as checkpoints."""
    assert run(folder, "ovrecipe", "init", ".").returncode == 0
    for kind in kinds:
        (folder / "recipes" / f"{kind}.yaml").write_text(RECIPE.replace("KIND", kind))
        KINDS[kind](folder / "recipes" / kind)
        add_no_weights(folder / "recipes" / kind)
    return folder


@pytest.mark.model
def test_a_checkpoint_is_built_and_answers(tmp_path) -> None:
    """The whole route, from a checkpoint that has a tokenizer.model alone."""
    folder = project(tmp_path, "alone")
    add_weights(folder / "recipes" / "alone")
    built = run(folder, "ovrecipe", "build", "alone:int8")
    assert built.returncode == 0, built.stderr
    words = ("run", "alone:int8", "Say it.", "--greedy", "--max-new-tokens", "8")
    ran = run(folder, "ovrecipe", *words)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert (folder / "models" / "alone" / "int8" / "tokenizer.model").is_file()


@pytest.mark.model
def test_the_gate_passes(tmp_path) -> None:
    """Over a thousand comparisons with the checkpoint's own tokenizer, for each kind."""
    kinds = ("prepend", "first", "gemma")
    folder = project(tmp_path, *kinds)
    compared = run(folder, "doit", *(f"conformance:{kind}" for kind in kinds))
    assert compared.returncode == 0, compared.stdout + compared.stderr
    manifests = list((folder / "store" / "conformance").glob("*/manifest.json"))
    assert len(manifests) == len(kinds)
    for manifest in manifests:
        facts = json.loads(manifest.read_text("utf-8"))["facts"]
        assert facts["failures"] == 0
        assert facts["cases"] > 1000


@pytest.mark.model
def test_the_gate_refuses_what_transformers_reads_otherwise(tmp_path) -> None:
    """LlamaTokenizer drops a model's normalization: which is right, only the authors know."""
    folder = project(tmp_path, "normalizing")
    compared = run(folder, "doit", "conformance:normalizing")
    assert compared.returncode != 0
    assert "comparisons failed" in compared.stdout + compared.stderr
    assert not (folder / "store" / "conformance").exists()


@pytest.mark.model
def test_a_checkpoint_without_a_model_file_ends_the_build(tmp_path) -> None:
    """With the name of what is missing, and what to do."""
    folder = project(tmp_path, "prepend")
    (folder / "recipes" / "prepend" / "tokenizer.model").unlink()
    built = run(folder, "doit", "tokenizer:prepend")
    said = " ".join((built.stdout + built.stderr).split())
    assert built.returncode != 0
    assert "no SentencePiece model" in said
    assert "leave tokenizer.converter out" in said
