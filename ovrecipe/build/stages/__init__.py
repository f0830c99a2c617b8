"""The stages of a build, one module each (`stage` says what a stage is)."""

from collections.abc import Mapping

from ovrecipe.build.stages import (
    assemble,
    base,
    check,
    conformance,
    reference,
    source,
    tokenizer,
    vectors,
    weights,
)
from ovrecipe.build.stages.stage import Stage
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName

#: In the order of the route; the first one brings the checkpoint.
STAGES: tuple[Stage, ...] = (
    source.STAGE,
    base.STAGE,
    tokenizer.STAGE,
    conformance.STAGE,
    reference.STAGE,
    weights.STAGE,
    assemble.STAGE,
    check.STAGE,
)


_VECTORS = {stage.name: stage for stage in vectors.STAGES}
#: What stands for a stage of that name where the task is another than text generation.
INSTEAD: Mapping[TaskName, Mapping[str, Stage]] = {EMBEDDING: _VECTORS, RERANK: _VECTORS}


def route_of(task: TaskName, stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, ...]:
    """Return the table as it is for a task; names and order are those of every other one."""
    instead = INSTEAD.get(task, {})
    return tuple(instead.get(stage.name, stage) for stage in stages)


def stage_named(name: str, stages: tuple[Stage, ...] = STAGES) -> Stage:
    """Return the stage of that name."""
    return next(stage for stage in stages if stage.name == name)


def intermediate_stages(stages: tuple[Stage, ...] = STAGES) -> tuple[str, ...]:
    """Return the names of the stages that are read only to build something else."""
    return tuple(stage.name for stage in stages if stage.is_intermediate)
