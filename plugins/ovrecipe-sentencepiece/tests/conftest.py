"""Tokenizers converted and compared as a build does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ovrecipe_sentencepiece.converter import SentencePieceConverter

from ovrecipe.hooks.roles import ConversionJob


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def convert(ovrecipe_recipe: Any, tmp_path: Path) -> Callable[[Path], Path]:
    """Return what converts a checkpoint and returns the folder with the pair."""

    def converted(checkpoint_dir: Path) -> Path:
        output_dir = tmp_path / "out"
        output_dir.mkdir()
        job = ConversionJob(
            checkpoint_dir=checkpoint_dir, output_dir=output_dir, recipe=ovrecipe_recipe
        )
        SentencePieceConverter().convert(job)
        return output_dir

    return converted
