"""conformance, of a model that only reads: the gate that the converted tokenizer must pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.conformance import PACKAGES
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.recipe.schema import task_field
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """Whether pairs are read, and who compares."""
    return {"packages": plan.package_versions(PACKAGES), **task_field(plan.recipe)}


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the ids that both tokenizers give.

    Raises:
        GateError: they differ; the message shows the first difference.
    """
    from ovrecipe.conformance.compare import check_conformance
    from ovrecipe.conformance.encoding import compare_encoding
    from ovrecipe.measure.readings import TEXTS

    context.progress("comparing tokenizers")
    report = compare_encoding(
        job.checkpoint_dir,
        job.inputs["tokenizer"],
        task=job.recipe.task,
        texts=TEXTS,
        trust_remote_code=job.recipe.model.trust_remote_code,
    )
    check_conformance(report)
    return report.facts()


STAGE = Stage(
    name="conformance",
    doc="the tokenizer's gate",
    doing="checking the tokenizer",
    version=1,
    inputs=always("source", "tokenizer"),
    fields=fields,
    run=run,
    is_gate=True,
)
