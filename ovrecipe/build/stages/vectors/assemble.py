"""assemble, of a model that only reads: the directory that GenAI's pipelines open by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.assemble import fields
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.builtin.vector_settings import resolved
from ovrecipe.store.disk import link_file
from ovrecipe.store.manifest import MANIFEST
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.execute import Work


def run(job: Job, context: StageContext) -> dict[str, Json]:  # noqa: ARG001
    """Link model and tokenizer, and write how the model is asked."""
    links: dict[str, Json] = {}
    for source_dir in (job.inputs["tokenizer"], job.inputs["weights"]):
        for path in sorted(source_dir.iterdir()):
            if path.name != MANIFEST:
                links[path.name] = link_file(path, job.output_dir / path.name)
    settings = resolved(job.recipe, job.checkpoint_dir)
    settings.save(job.output_dir)
    return {"links": links, "settings": settings.model_dump(mode="json", exclude_none=True)}


def problems(work: Work) -> list[str]:
    """Resolve the settings before anything long begins: what nobody says ends the build."""
    if work.checkpoint_dir.is_dir():
        resolved(work.plan.recipe, work.checkpoint_dir)
    return []


STAGE = Stage(
    name="assemble",
    doc="the directory that GenAI's pipeline opens",
    doing="assembling the model directory",
    version=1,
    inputs=always("source", "weights", "tokenizer"),
    fields=fields,
    run=run,
    per_variant=True,
    own_process=False,
    publishes=True,
    links=("tokenizer", "weights"),
    problems=problems,
)
