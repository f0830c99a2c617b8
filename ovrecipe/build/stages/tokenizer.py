"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always, keep_torch_out

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.types import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    return {"converter": plan.converter.key_fields()}


def run(job: Job, bench: StageContext) -> dict[str, Json]:
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


STAGE = Stage(
    name="tokenizer",
    doc="the OpenVINO tokenizer and detokenizer",
    doing="converting the tokenizer",
    version=1,
    inputs=always("source"),
    fields=fields,
    run=run,
    is_judged=True,
)
