"""The second look at the point that would win: along the longer text of `ovrecipe evaluate`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ovrecipe.build.events import Ended, Progressed, Started
from ovrecipe.build.stages import base
from ovrecipe.errors import GateError, NotBuilt, StageError, foreign_errors
from ovrecipe.libraries import prepare_libraries
from ovrecipe.measure.verdict import exceeded, limits_of
from ovrecipe.run.artifact import Artifact
from ovrecipe.wording import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.build.events import Watch
    from ovrecipe.build.tuning.bounds import Candidate, Found
    from ovrecipe.build.tuning.trials import Trials
    from ovrecipe.measure.built import Built

#: What texts say something of; the size and the way it is run were judged by the build's check.
ALONG_TEXTS = ("mean_kl", "same_top", "perplexity_ratio")


def confirmed(trials: Trials, found: Found, *, tokens: int, watch: Watch) -> Found | str:
    """Return a point with its figures over so many tokens, or why it has none.

    Raises:
        OvrecipeError: the source cannot be asked.
        KeyboardInterrupt: Ctrl-C; what the source said is kept.
    """
    from ovrecipe.measure.built import Built

    context, point = trials.plan.context, found.point
    model_dir = trials.model_dir(found.candidate)
    artifact = Artifact(point.name, model_dir, context.store.cache_dir(model_dir.name))
    built = Built(f"{trials.plan.recipe.name}:{point.name}", context.project, artifact)
    try:
        longer = _figures(trials, found.candidate, built, tokens=tokens, watch=watch)
    except (GateError, StageError) as error:
        return one_line(error)
    limits = limits_of(
        trials.accept, point.variant.precision, information=longer["information"], as_run=False
    )
    judged = {name: limit for name, limit in limits.items() if name in ALONG_TEXTS}
    return replace(found, longer=longer, exceeded=tuple(exceeded(longer, judged)))


def _figures(
    trials: Trials, candidate: Candidate, built: Built, *, tokens: int, watch: Watch
) -> Mapping[str, Any]:
    """Compare a point with the source; the base IR is made again where it was collected."""
    prepare_libraries(sys.modules, os.environ)
    title = f"evaluate {built}"

    def progress(
        message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        watch(Progressed(title, message, done, total, unit))

    def compare() -> Mapping[str, Any]:
        with built.in_use(), foreign_errors("comparing with the source"):
            return built.figures(tokens=tokens, progress=progress)

    watch(Started(title, f"comparing along {tokens:,} tokens"))
    try:
        return compare()
    except NotBuilt:
        trials.make_again(base.STAGE.name, candidate, watch)
        return compare()
    finally:
        watch(Ended(title))
