"""base: the stateful IR in the checkpoint's own dtype, from which every variant is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always
from ovrecipe.builtin.ir import base_bytes
from ovrecipe.hooks.roles import Estimate, ExportJob

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Exporter
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json

#: What a process takes beside the weights, where its provider does not say.
OTHER_BYTES = 10**9


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the exporter."""
    return plan.exporter.key_with("exporter", exporter_options(plan.exporter, plan.recipe))


def exporter_options(exporter: Provided[Exporter], recipe: Recipe) -> BaseModel | None:
    """Return the options of `model.exporter`, validated."""
    loc = ("model", "exporter", "options")
    return exporter.options(recipe.model.exporter.options, loc=loc, recipe=recipe)


def run(job: Job, bench: StageContext) -> dict[str, Json]:
    """Export the checkpoint."""
    exporter = bench.plugins.provider("exporter", job.recipe.model.exporter.name, job.recipe)
    options = exporter_options(exporter, job.recipe)
    with exporter.blamed():
        exporter.provider.export(
            ExportJob(
                checkpoint_dir=job.checkpoint_dir,
                output_dir=job.output_dir,
                recipe=job.recipe,
                options=options,
                progress=bench.progress,
            )
        )
    exporter.require_files(
        job.output_dir, "openvino_model.xml", "openvino_model.bin", "config.json"
    )
    return {}


def estimate(work: Work) -> Estimate | None:
    """Ask the exporter; of one that does not say, expect that it loads the whole checkpoint."""
    tensors = work.tensors()
    size_bytes = base_bytes(tensors)
    default = Estimate(disk_bytes=size_bytes, memory_bytes=size_bytes + OTHER_BYTES)
    return (work.plan.exporter.optional("estimate", tensors) or default) if tensors else None


STAGE = Stage(
    name="base",
    doc="the IR in the checkpoint's own dtype",
    doing="exporting the base IR",
    version=1,
    inputs=always("source"),
    fields=fields,
    run=run,
    is_intermediate=True,
    is_judged=True,
    estimate=estimate,
)
