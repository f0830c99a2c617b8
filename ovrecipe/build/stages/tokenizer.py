"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.job import keep_torch_out
from ovrecipe.build.stages.stage import Stage, always

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.types import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    return {"converter": plan.converter.key_fields()}


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    name = job.recipe.tokenizer.converter
    provided = bench.plugins.provider("tokenizer_converter", name, job.recipe)
    converter = provided.provider
    if not job.recipe.model.trust_remote_code:
        keep_torch_out(sys.modules, [converter])
    with provided.blamed():
        converter.convert(
            job.checkpoint_dir, job.output_dir, model=job.recipe.model, progress=bench.progress
        )
    return {}


STAGE = Stage("tokenizer", 1, "converting the tokenizer", always("source"), fields, run)
