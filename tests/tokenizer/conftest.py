"""Twins' tokenizers, converted once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.builtin.tokenizer import OpenvinoTokenizerConverter
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import ConversionJob
from tests.twins import TOKENIZERS, make_tokenizer

KINDS = (*TOKENIZERS, pytest.param("smollm2", marks=pytest.mark.model))


def convert(checkpoint_dir: Path, output_dir: Path) -> Path:
    """Convert a checkpoint's tokenizer as a build does."""
    output_dir.mkdir()
    job = ConversionJob(
        checkpoint_dir=checkpoint_dir, output_dir=output_dir, recipe=sample_recipe()
    )
    OpenvinoTokenizerConverter().convert(job)
    return output_dir


@pytest.fixture(scope="session")
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Path]]:
    """Return (checkpoint, converted pair) of a kind of tokenizer; each is converted once."""
    made: dict[str, tuple[Path, Path]] = {}

    def pair_of(kind: str) -> tuple[Path, Path]:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            checkpoint_dir = folder / "checkpoint"
            if kind == "smollm2":
                real_dir = request.getfixturevalue("smollm2_checkpoint")
                shutil.copytree(real_dir, checkpoint_dir, copy_function=_link)
            else:
                make_tokenizer(checkpoint_dir, kind)
            made[kind] = checkpoint_dir, convert(checkpoint_dir, folder / "tokenizer")
        return made[kind]

    return pair_of


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)
