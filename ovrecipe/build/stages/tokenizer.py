"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always, keep_torch_out
from ovrecipe.hooks.roles import ConversionJob

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import TokenizerConverter
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    return plan.converter.key_with("converter", converter_options(plan.converter, plan.recipe))


def converter_options(converter: Provided[TokenizerConverter], recipe: Recipe) -> BaseModel | None:
    """Return the options of `tokenizer.converter`, validated."""
    loc = ("tokenizer", "converter", "options")
    return converter.options(recipe.tokenizer.converter.options, loc=loc, recipe=recipe)


def run(job: Job, bench: StageContext) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    name = job.recipe.tokenizer.converter.name
    converter = bench.plugins.provider("tokenizer_converter", name, job.recipe)
    options = converter_options(converter, job.recipe)
    if not job.recipe.model.trust_remote_code:
        keep_torch_out(sys.modules, [converter])
    with converter.blamed():
        converter.provider.convert(
            ConversionJob(
                checkpoint_dir=job.checkpoint_dir,
                output_dir=job.output_dir,
                recipe=job.recipe,
                options=options,
                progress=bench.progress,
            )
        )
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
