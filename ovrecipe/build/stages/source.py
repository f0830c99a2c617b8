"""source: the checkpoint at one commit, on this disk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.preflight import has_shapes
from ovrecipe.build.stages.stage import (
    CHECKPOINT,
    Job,
    Stage,
    StageContext,
    always,
    keep_torch_out,
)
from ovrecipe.hooks.roles import SourceRequest
from ovrecipe.recipe.schema import split_model_id, task_field
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.store import Store
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The content that the source vouches for, and what may come with it."""
    model = plan.recipe.model
    return {
        "provider": plan.source.key_fields(),
        "pin": dict(plan.pin),
        "trust_remote_code": model.trust_remote_code,
        "allow_pickle": model.allow_pickle,
        # Which files are taken depends on it.
        **task_field(plan.recipe),
    }


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Ask the source to fill the folder."""
    scheme, location = split_model_id(job.recipe.model.id)
    provided = context.plugins.provider("source", scheme, job.recipe)
    keep_torch_out(sys.modules, [provided])
    request = SourceRequest(
        recipe=job.recipe,
        location=location,
        env=context.env,
        digests=RememberedDigests(Store(job.store_dir).digests_path),
        progress=context.progress,
    )
    checkpoint_dir = job.output_dir / CHECKPOINT
    checkpoint_dir.mkdir()
    with context.calling(provided):
        provided.provider.fetch(request, job.pin, checkpoint_dir)
    if has_shapes(checkpoint_dir):
        return {}
    warning = "shapes unknown: preflight left out (only safetensors files tell them unread)"
    context.progress(warning)
    return {"warning": warning}


STAGE = Stage(
    name="source",
    doc="the checkpoint at one commit, on this disk",
    doing="fetching the checkpoint",
    version=1,
    inputs=always(),
    fields=fields,
    run=run,
    is_intermediate=True,
)
