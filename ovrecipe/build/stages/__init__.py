"""The stages of a build, one module each (`stage` says what a stage is)."""

from ovrecipe.build.stages import (
    assemble,
    base,
    check,
    conformance,
    reference,
    source,
    tokenizer,
    weights,
)
from ovrecipe.build.stages.stage import Stage

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


def stage_named(name: str, stages: tuple[Stage, ...] = STAGES) -> Stage:
    """Return the stage of that name."""
    return next(stage for stage in stages if stage.name == name)


def intermediate_stages(stages: tuple[Stage, ...] = STAGES) -> tuple[str, ...]:
    """Return the names of the stages that are read only to build something else."""
    return tuple(stage.name for stage in stages if stage.is_intermediate)
