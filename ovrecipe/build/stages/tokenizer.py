"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Job, Stage, StageContext, always, keep_torch_out
from ovrecipe.hooks.roles import ConversionJob
from ovrecipe.recipe.schema import task_field
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    plugins = plan.context.plugins
    [(converter, options)] = plugins.configured("tokenizer_converter", plan.recipe)
    return {**converter.key_with("converter", options), **task_field(plan.recipe)}


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    [(converter, options)] = context.plugins.configured("tokenizer_converter", job.recipe)
    if not job.recipe.model.trust_remote_code:
        keep_torch_out(sys.modules, [converter])
    work = ConversionJob(
        checkpoint_dir=job.checkpoint_dir,
        output_dir=job.output_dir,
        recipe=job.recipe,
        options=options,
        progress=context.progress,
    )
    with context.calling(converter):
        converter.provider.convert(work)
    for name in ("openvino_tokenizer", "openvino_detokenizer"):
        converter.check_files(job.output_dir, f"{name}.xml", f"{name}.bin")
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
