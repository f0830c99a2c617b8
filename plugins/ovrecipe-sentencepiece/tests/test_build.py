"""A real build with `tokenizer: {converter: sentencepiece}`, through the real gate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import gemma, metaspace, model_only, prepending

RECIPE = """\
model: {id: ./checkpoint}
tokenizer: {converter: sentencepiece}
prompt: {template: "<s>[INST] {instruction} [/INST]"}
variants:
  int8: {}
"""
SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def add_weights(folder: Path, vocab_size: int) -> None:
    """Make a whole checkpoint of a tokenizer: two layers of random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(20)
    config = AutoConfig.for_model("llama", vocab_size=vocab_size, **SIZES)
    AutoModelForCausalLM.from_config(config, dtype=torch.float16).save_pretrained(folder)


def ovrecipe(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "ovrecipe", *words],
        cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        input="", capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def project(tmp_path: Path, kind: str) -> Path:
    """A project with a recipe and a checkpoint of a kind."""
    makers = {
        "model alone": model_only,
        "prepend": prepending,
        "first": lambda folder: metaspace(folder, "first"),
        "gemma": gemma,
        "normalizing": lambda folder: model_only(folder, normalization_rule_name="nmt_nfkc"),
    }
    assert ovrecipe(tmp_path, "init", ".").returncode == 0
    (tmp_path / "recipes").mkdir(exist_ok=True)
    (tmp_path / "recipes" / "twin.yaml").write_text(RECIPE)
    add_weights(makers[kind](tmp_path / "recipes" / "checkpoint"), 422)
    return tmp_path


@pytest.mark.model
@pytest.mark.parametrize("kind", ["model alone", "prepend", "first", "gemma"])
def test_the_gate_passes_and_the_model_answers(tmp_path, kind) -> None:
    """Over a thousand comparisons with the checkpoint's own tokenizer, then a generation."""
    folder = project(tmp_path, kind)
    built = ovrecipe(folder, "build", "twin:int8")
    assert built.returncode == 0, built.stderr
    ran = ovrecipe(folder, "run", "twin:int8", "Say it.", "--greedy", "--max-new-tokens", "8")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert (folder / "models" / "twin" / "int8" / "tokenizer.model").is_file()


@pytest.mark.model
def test_the_gate_refuses_what_transformers_reads_otherwise(tmp_path) -> None:
    """LlamaTokenizer drops a model's normalization: which is right, only the authors know."""
    built = ovrecipe(project(tmp_path, "normalizing"), "build", "twin:int8")
    assert built.returncode == 8
    assert "comparisons failed" in built.stderr
    assert not (tmp_path / "models" / "twin" / "int8").exists()


@pytest.mark.model
def test_a_checkpoint_without_a_model_file_ends_the_build(tmp_path) -> None:
    """With the name of what is missing."""
    folder = project(tmp_path, "prepend")
    (folder / "recipes" / "checkpoint" / "tokenizer.model").unlink()
    built = ovrecipe(folder, "build", "twin:int8")
    assert built.returncode == 5
    assert "no SentencePiece model" in built.stderr
    assert "leave tokenizer.converter out" in " ".join(built.stderr.split())
