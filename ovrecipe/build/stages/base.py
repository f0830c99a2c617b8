"""base: the stateful IR in the checkpoint's own dtype, from which every variant is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.build.toolchains import check_toolchain, exporters_python, with_toolchain
from ovrecipe.builtin.ir import base_bytes
from ovrecipe.hooks.roles import Estimate, ExportJob
from ovrecipe.recipe.schema import task_field
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TaskName
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work

#: What a process takes beside the weights, where its provider does not say.
OTHER_BYTES = 10**9
#: What an exporter and a compressor write.
MODEL_FILES = ("openvino_model.xml", "openvino_model.bin")


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the exporter, with the toolchain that it works in, if it is one."""
    [(exporter, options)] = plan.context.plugins.configured("exporter", plan.recipe)
    task = task_field(plan.recipe)
    found = {**exporter.key_with("exporter", options), **task}
    toolchain = plan.toolchain()
    return found if toolchain is None else with_toolchain(found, "exporter", toolchain)


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Export the checkpoint, and write down what its own code says of a few texts."""
    asked = asked_of(job)
    [(exporter, options)] = context.plugins.configured("exporter", job.recipe)
    work = ExportJob(
        checkpoint_dir=job.checkpoint_dir,
        output_dir=job.output_dir,
        recipe=job.recipe,
        options=options,
        progress=context.progress,
        **asked,
    )
    with context.calling(exporter):
        exporter.provider.export(work)
    exporter.check_files(job.output_dir, *MODEL_FILES, "config.json")
    for taken in asked.values():
        reference = taken.reference(by=f"the checkpoint's own code, through {exporter.name}")
        if reference is not None:
            reference.save(job.output_dir)
    return {}


def problems(work: Work) -> list[str]:
    """Ask the exporter what it cannot export, and refuse one that has no environment to work in."""
    found: list[str] = []
    if work.plan.recipe.task == GENERATION:
        exporter = work.plan.provider("exporter", work.plan.recipe.model.exporter.name)
        found = exporter.optional("problems", work.checkpoint_config())
    if not found:
        check_toolchain(work.plan)
    return found


def asked_of(job: Job) -> dict[str, Any]:
    """Return what the exporter shall ask the checkpoint, by the name that its job gives it."""
    from ovrecipe.measure.readings import ReadingsTaken
    from ovrecipe.measure.reference import AnswersTaken

    kinds: Mapping[TaskName, tuple[str, Callable[..., Any]]] = {
        GENERATION: ("answers", AnswersTaken),
        EMBEDDING: ("readings", partial(ReadingsTaken, EMBEDDING)),
        RERANK: ("readings", partial(ReadingsTaken, RERANK)),
    }
    name, taken = kinds[job.recipe.task]
    trusted = job.recipe.model.trust_remote_code
    return {name: taken(job.checkpoint_dir, trust_remote_code=trusted)}


def estimate(work: Work) -> Estimate | None:
    """Ask the exporter; of one that does not say, expect that it loads the whole checkpoint."""
    tensors = work.tensors()
    if not tensors:
        return None
    exporter = work.plan.provider("exporter", work.plan.recipe.model.exporter.name)
    said: list[Estimate] = exporter.optional("estimate", tensors)
    size_bytes = base_bytes(tensors)
    return said[0] if said else Estimate(size_bytes, memory_bytes=size_bytes + OTHER_BYTES)


STAGE = Stage(
    name="base",
    doc="the IR in the checkpoint's own dtype",
    doing="exporting the base IR",
    version=2,
    inputs=always("source"),
    fields=fields,
    run=run,
    python=exporters_python,
    is_intermediate=True,
    is_judged=True,
    problems=problems,
    estimate=estimate,
)
