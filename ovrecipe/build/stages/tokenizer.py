"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always, configured, keep_torch_out
from ovrecipe.hooks.roles import ConversionJob

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.types import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    plugins = plan.context.plugins
    [(converter, options)] = configured(plugins, plan.recipe, "tokenizer_converter")
    return converter.key_with("converter", options)


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    [(converter, options)] = configured(context.plugins, job.recipe, "tokenizer_converter")
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
        converter.require_files(job.output_dir, f"{name}.xml", f"{name}.bin")
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
