"""A compressor's job, without a build around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.schema import Model

if TYPE_CHECKING:
    from pathlib import Path


def compression_job(
    base_dir: Path,
    output_dir: Path,
    *,
    precision: str = "int4",
    input_dir: Path | None = None,
    cache_dir: Path | None = None,
    **knobs: Any,
) -> CompressionJob:
    """Return the job of one pass over a base IR; `knobs` are those of the pass in a recipe.

    `job.compression` is also what `problems` is asked with. The pass before is not run: what it
    would have written is `input_dir`, the base unless given.
    """
    return CompressionJob(
        input_dir=input_dir or base_dir,
        base_dir=base_dir,
        output_dir=output_dir,
        tokenizer_dir=None,
        checkpoint_dir=None,
        dataset_path=None,
        compression=CompressionPass.model_validate(knobs),
        precision=precision,
        model=Model(id="example/model"),
        progress=_silent,
        cache_dir=cache_dir,
    )


def _silent(message: str, *, done: float | None = None, total: float | None = None) -> None:
    """Be a progress that nobody watches."""
