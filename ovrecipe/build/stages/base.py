"""base: the stateful IR in the checkpoint's own dtype, from which every variant is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.types import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the exporter."""
    return {"exporter": plan.exporter.key_fields()}


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Export the checkpoint."""
    model = job.recipe.model
    exporter = bench.plugins.provider("exporter", model.exporter, job.recipe)
    with exporter.blamed():
        exporter.provider.export(
            job.checkpoint_dir, job.output_dir, model=model, progress=bench.progress
        )
    return {}


STAGE = Stage("base", 1, "exporting the base IR", always("source"), fields, run)
