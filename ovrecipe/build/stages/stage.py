"""What a stage is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json


@dataclass(frozen=True)
class Stage:
    """One step of the route.

    `version` is raised when the stage's own code would write other bytes. `inputs` names the
    stages whose artifacts are read; their keys are part of this stage's key, beside `fields`,
    which is everything else that the result depends on. `run` fills `job.output_dir` and returns
    facts. `per_variant` stages run once for each variant, `own_process` ones in a worker.
    """

    name: str
    version: int
    doing: str
    inputs: Callable[[Recipe, str | None], tuple[str, ...]]
    fields: Callable[[RecipePlan, str | None], dict[str, Json]]
    run: Callable[[Job, Bench], dict[str, Json]]
    per_variant: bool = False
    own_process: bool = True


def always(*names: str) -> Callable[[Recipe, str | None], tuple[str, ...]]:
    """Return an `inputs` that does not depend on the recipe."""

    def inputs(recipe: Recipe, variant: str | None) -> tuple[str, ...]:  # noqa: ARG001
        return names

    return inputs
