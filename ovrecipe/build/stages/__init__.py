"""The stages of a build, one module each: what its key is made of, and what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages import assemble, base, check, conformance, source, tokenizer, weights

if TYPE_CHECKING:
    from ovrecipe.build.stages.stage import Stage

#: In the order of the route.
STAGES: tuple[Stage, ...] = (
    source.STAGE,
    base.STAGE,
    tokenizer.STAGE,
    conformance.STAGE,
    weights.STAGE,
    assemble.STAGE,
    check.STAGE,
)


def stage_named(name: str) -> Stage:
    """Return the stage of that name."""
    return next(each for each in STAGES if each.name == name)
