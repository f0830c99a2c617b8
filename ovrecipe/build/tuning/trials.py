"""Points as variants of a recipe in memory: what can be built of them, and building and measuring.

What is built of a point are normal artifacts under normal keys, without a name: a point that was
measured once is found again, and a recipe that says the same builds nothing anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build.context import RecipePlan
from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.judge import raise_first, recipe_errors
from ovrecipe.build.run import run_tasks
from ovrecipe.build.stages import stage_named, weights
from ovrecipe.build.stages.base import MODEL_FILES
from ovrecipe.build.tuning.bounds import Candidate, Found
from ovrecipe.builtin.nncf_rules import compressed_bytes
from ovrecipe.errors import GateError, PreflightError, RecipeInvalid, StageError
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.measure.verdict import exceeded, limits_of
from ovrecipe.recipe.schema import Accept, Recipe
from ovrecipe.recipe.sections import FrozenDict
from ovrecipe.wording import one_line

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Watch
    from ovrecipe.build.tuning.points import Point

#: Stands for a model whose shapes are not known.
LARGE = WeightShape("model.layers.0.mlp.up_proj.weight", (4096, 4096), "f16")
#: What is wrong with a point alone, after which the others can still be tried.
OF_A_POINT = (StageError, GateError, PreflightError, RecipeInvalid)


@dataclass(frozen=True)
class Trials:
    """The points of a search over one recipe: those that can be built, and why others cannot."""

    plan: RecipePlan
    accept: Accept
    candidates: tuple[Candidate, ...]
    impossible: Mapping[str, str]
    #: Whether the checkpoint is here, whose shapes say how large a point will be.
    knows_sizes: bool

    @property
    def at_once(self) -> int:
        """How many points are measured side by side."""
        return self.plan.context.jobs

    def is_measured(self, candidate: Candidate) -> bool:
        """Return whether measuring it would only read what is there."""
        [view] = self._views([candidate])
        return all(work.is_up_to_date() for work in view.needs())

    def measure(self, candidates: Sequence[Candidate], watch: Watch) -> list[Found | str]:
        """Return the figures of points, building what is missing; or why a point has none.

        Raises:
            OvrecipeError: what every point needs cannot be made.
            KeyboardInterrupt: Ctrl-C; what was finished is kept.
        """
        views = self._views(candidates)
        needed = [view.needs() for view in views]
        # Each once: doit passes over all that follows a task which is named again.
        every = {work.title: work for works in needed for work in works}
        missing = [work for work in every.values() if not work.is_up_to_date()]
        errors = self._run(missing, watch) if missing else []
        shared = [work for works in needed for work in works if not work.stage.per_variant]
        if not all(work.is_up_to_date() for work in shared):
            raise_first(errors)
        raise_first([error for error in errors if not isinstance(error, OF_A_POINT)])
        return [
            self._found(candidate, view) or _reason(view, errors)
            for candidate, view in zip(candidates, views, strict=True)
        ]

    def model_dir(self, candidate: Candidate) -> Path:
        """Return the directory that was built of a point."""
        [view] = self._views([candidate])
        work = view.assembled
        return self.plan.context.store.artifact_dir(self.plan.pinned_key(work.kind, work.variant))

    def make_again(self, stage: str, candidate: Candidate, watch: Watch) -> None:
        """Make what a point shares with the others, where it was collected.

        Raises:
            OvrecipeError: it cannot be made.
        """
        found = stage_named(stage, self.plan.context.stages)
        # Judged are the variants that are wanted: of all points some are impossible.
        work = Work(self.plan, found, None, (candidate.point.name,))
        raise_first(self._run([work], watch))

    def _views(self, candidates: Sequence[Candidate]) -> list[ViewWork]:
        names = tuple(candidate.point.name for candidate in candidates)
        return [ViewWork(self.plan, name, wanted=names) for name in names]

    def _run(self, works: Sequence[Work], watch: Watch) -> list[Exception]:
        context = self.plan.context
        try:
            return run_tasks(context, works, watch, keep_going=True)
        except KeyboardInterrupt:
            context.cancel()
            raise

    def _found(self, candidate: Candidate, view: ViewWork) -> Found | None:
        """Read what the stages found out of a point; None unless it is built."""
        if not self.is_measured(candidate):
            return None
        store, warning = self.plan.context.store, None
        facts: dict[str, Any] = {}
        for work in view.needs():
            if work.stage.per_variant:
                facts |= store.manifest(self.plan.pinned_key(work.kind, view.variant)).facts
        assembled = store.manifest(self.plan.pinned_key(view.assembled.kind, view.variant))
        made = self.plan.pinned_key(weights.STAGE.name, view.variant)
        if store.has(made):
            passes: Any = store.manifest(made).facts["passes"]
            warning = passes[0].get("warning")
        quality = facts["quality"]
        limits = limits_of(
            self.accept,
            candidate.point.variant.precision,
            information=quality.get("information", 0.0),
        )
        return Found(
            candidate=candidate,
            size_bytes=assembled.files[MODEL_FILES[1]].size_bytes,
            quality=quality,
            exceeded=tuple(exceeded(quality, limits)),
            warning=warning,
        )


def _reason(view: ViewWork, errors: Sequence[Exception]) -> str:
    """Return which of the errors a point has no figures for, without its name."""
    own = [one_line(error) for error in errors]
    found = next((line for line in own if f"{view.target}: " in line), own[0])
    return found.partition(": ")[2]


def prepare(
    context: BuildContext,
    recipe: Recipe,
    points: Sequence[Point],
    *,
    accept: Accept,
    watch: Watch,
    may_fetch: bool,
) -> Trials:
    """Return the points that can be built, by size as shapes tell it; the checkpoint is fetched.

    Without `may_fetch` what needs the checkpoint is left out where it is not here: no group size is
    judged, and sizes only say which of two is larger.

    Raises:
        OvrecipeError: the recipe cannot be used, or its checkpoint cannot be had.
    """
    raise_first(list(recipe_errors(_with(recipe, ()), context.plugins)))
    impossible: dict[str, str] = {}
    for point in points:
        for error in recipe_errors(_with(recipe, [point]), context.plugins):
            impossible.setdefault(point.name, str(error).splitlines()[0])
    sound = [point for point in points if point.name not in impossible]
    plan = RecipePlan(context, _with(recipe, sound))
    if may_fetch:
        _fetch(plan, watch)
    works = {point.name: Work(plan, weights.STAGE, point.name, (point.name,)) for point in sound}
    shapes = next((work.tensors() for work in works.values() if _is_here(work)), [])
    candidates: list[Candidate] = []
    for point in sound:
        work = works[point.name]
        if problem := next(_problems(work), None):
            impossible[point.name] = problem
        else:
            # Which is smaller is known without the model: of any large matrix it is the same one.
            size_bytes = _estimated_bytes(point, shapes or [LARGE])
            candidates.append(Candidate(point, size_bytes))
    candidates.sort(key=lambda one: one.estimated_bytes)
    return Trials(plan, accept, tuple(candidates), impossible, knows_sizes=bool(shapes))


def _with(recipe: Recipe, points: Sequence[Point]) -> Recipe:
    """Return the recipe with points as its variants; with none, as it is."""
    variants = {point.name: point.variant for point in points}
    return recipe.model_copy(update={"variants": FrozenDict(variants)} if variants else {})


def _fetch(plan: RecipePlan, watch: Watch) -> None:
    plan.resolve()
    source = Work(plan, plan.context.stages[0], None, ())
    if not source.is_up_to_date():
        raise_first(run_tasks(plan.context, [source], watch, keep_going=False))


def _problems(work: Work) -> Iterator[str]:
    if _is_here(work):
        prefix = f"variants.{work.variant}: "
        yield from (problem.removeprefix(prefix) for problem in weights.problems(work))


def _estimated_bytes(point: Point, shapes: Sequence[WeightShape]) -> int:
    """Return the size of a point's weights as shapes and knobs tell it."""
    if point.bits_per_weight is not None:
        return int(point.bits_per_weight / 8 * sum(math.prod(shape.shape) for shape in shapes))
    return compressed_bytes(point.variant, point.variant.precision, shapes)


def _is_here(work: Work) -> bool:
    plan = work.plan
    key = plan.key(plan.context.stages[0].name)
    return key is not None and plan.context.store.has(key)
