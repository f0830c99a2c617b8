"""A tiny base IR, exported once, and jobs for compressors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import CompressionJob, ConversionJob, ExportJob
from ovrecipe.recipe.compression import CompressionPass
from tests.twins import make_checkpoint

Reports = list[tuple[str, float | None, float | None]]


class Recorder:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.reports: Reports = []

    def __call__(
        self, message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        self.reports.append((message, done, total))


def export(checkpoint_dir: Path, output_dir: Path) -> Path:
    from ovrecipe.builtin.exporter import OptimumExporter

    output_dir.mkdir()
    with warnings.catch_warnings(action="ignore"):
        job = ExportJob(
            checkpoint_dir=checkpoint_dir, output_dir=output_dir, recipe=sample_recipe()
        )
        OptimumExporter().export(job)
    return output_dir


@pytest.fixture(scope="session")
def twin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a Llama with four layers' worth of matrices, f16."""
    return make_checkpoint(tmp_path_factory.mktemp("twin") / "checkpoint", "llama")


@pytest.fixture(scope="session")
def base_dir(twin_dir: Path) -> Path:
    """Its base IR."""
    return export(twin_dir, twin_dir.parent / "base")


@pytest.fixture(scope="session")
def tokenizer_dir(twin_dir: Path) -> Path:
    """Its converted tokenizer."""
    from ovrecipe.builtin.tokenizer import OpenvinoTokenizerConverter

    output_dir = twin_dir.parent / "tokenizer"
    output_dir.mkdir()
    with warnings.catch_warnings(action="ignore"):
        job = ConversionJob(checkpoint_dir=twin_dir, output_dir=output_dir, recipe=sample_recipe())
        OpenvinoTokenizerConverter().convert(job)
    return output_dir


@pytest.fixture
def job_of(base_dir: Path, tmp_path: Path) -> Callable[..., CompressionJob]:
    """Make a job with the knobs of one pass."""

    def make(
        precision: str, *, input_dir: Path | None = None, name: str = "out", **knobs: Any
    ) -> CompressionJob:
        output_dir = tmp_path / name
        output_dir.mkdir()
        job: dict[str, Any] = {
            "input_dir": input_dir or base_dir,
            "base_dir": base_dir,
            "output_dir": output_dir,
            "tokenizer_dir": knobs.pop("tokenizer_dir", None),
            "dataset_path": knobs.pop("dataset_path", None),
            "cache_dir": knobs.pop("cache_dir", None),
            "compression": CompressionPass.model_validate(knobs),
            "precision": precision,
            "recipe": sample_recipe(),
            "progress": Recorder(),
        }
        return CompressionJob(**job)

    return make
