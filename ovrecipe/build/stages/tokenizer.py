"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    return {"converter": plan.converter.key_fields()}


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    name = job.recipe.tokenizer.converter
    converter = bench.plugins.provider("tokenizer_converter", name, job.recipe).provider
    converter.convert(
        job.checkpoint_dir, job.output_dir, model=job.recipe.model, progress=bench.progress
    )
    return {}


STAGE = Stage("tokenizer", 1, "converting the tokenizer", always("source"), fields, run)
