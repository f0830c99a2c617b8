"""Points are built and measured as variants that nobody named, by stages that take no time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.build.tuning.bounds import Found, smallest
from ovrecipe.build.tuning.points import Choices, points_of
from ovrecipe.build.tuning.rewriting import settings_of_pass, write_settings
from ovrecipe.build.tuning.search import Finals, Results, swept, tuned
from ovrecipe.build.tuning.trials import Trials, prepare
from ovrecipe.errors import GateError, StageError, StoreError
from ovrecipe.recipe.project import Project
from ovrecipe.recipe.schema import Accept
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.tune.making import confirmed, size_of

Run = Callable[[Job, StageContext], dict[str, Any]]
GRID = {"group_size": (32, 64), "ratio": (0.5, 1.0)}


class Made:
    """A route of stages that take no time; it notes what ran, and fails where it is told to."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails: dict[str, BaseException] = {}

    def stages(self) -> tuple[Stage, ...]:
        return (
            self.stage("source"),
            self.stage("reference", "source", is_gate=True),
            self.stage("weights", "source", per_variant=True),
            self.stage("assemble", "weights", per_variant=True, publishes=True),
            self.stage("check", "assemble", "reference", per_variant=True, is_gate=True),
        )

    def stage(self, name: str, *inputs: str, **more: Any) -> Stage:
        def fields(plan: Any, variant: str | None) -> dict[str, Any]:
            return settings_of_pass(plan.recipe.variants[variant]) if name == "weights" else {}

        def run(job: Job, context: StageContext) -> dict[str, Any]:
            return self.run(name, job)

        return Stage(
            name=name, doc=name, doing=name, version=1, inputs=always(*inputs), fields=fields,
            run=run, own_process=False, **more,
        )  # fmt: skip

    def run(self, name: str, job: Job) -> dict[str, Any]:
        title = f"{name}:{job.variant}" if job.variant else name
        self.ran.append(title)
        if title in self.fails:
            raise self.fails[title]
        if job.variant is None:
            return {}
        [point] = points_of(job.recipe.variants[job.variant], Choices())
        if name == "assemble":
            (job.output_dir / "openvino_model.bin").write_bytes(b"w" * size_of(point))
        if name == "weights":
            return {"passes": [{"warning": "awq matched no layer"} if point.corrections else {}]}
        quality = {"mean_kl": point.knobs["ratio"] * point.knobs["group_size"] / 100,
                   "mean_kl_error": 0.001, "same_top": 0.9, "perplexity_ratio": 1.1,
                   "size_ratio": 0.3, "information": 9.0, "as_run_gap": 0.01}  # fmt: skip
        return {"quality": quality, "attention_backend": "SDPA"} if name == "check" else {}


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def context(project: Project, made: Made) -> BuildContext:
    write_recipe(project, "m", fake_recipe(variants={"int4": {"group_size": 64}}))
    return context_of(project, made)


def context_of(project: Project, made: Made, *, jobs: int = 1) -> BuildContext:
    fresh = replace(project, env=dict(os.environ))
    return BuildContext(fresh, plugin_options=(FAKE_PLUGIN,), stages=made.stages(), jobs=jobs)


def trials_of(context: BuildContext, accept: float = 0.4, **grid: Any) -> Trials:
    recipe = context.recipe("m")
    points = points_of(recipe.variants["int4"], Choices(**(grid or GRID)))
    limits = Accept(mean_kl=accept)
    return prepare(context, recipe, points, accept=limits, watch=lambda _: None, may_fetch=True)


def sweep(context: BuildContext, **grid: Any) -> Results:
    return swept(trials_of(context, **grid), watch=lambda _: None, tell=lambda *_: None)


def test_every_point_is_measured_and_what_they_share_is_made_once(
    context: BuildContext, made: Made
) -> None:
    """The checkpoint and its gate are the same for all."""
    results = sweep(context)
    assert len(results.found) == 4
    assert [title for title in made.ran if ":" not in title] == ["source", "reference"]
    first = results.found[0]
    assert (first.point.name, first.size_bytes) == ("int4-asym-g64-r1", size_of(first.point))
    assert first.quality["mean_kl"] == 0.64
    assert [str(one) for one in first.exceeded] == ["mean_kl is 0.64, at most 0.4 is accepted"]
    assert results.found[-1].is_within


def test_points_get_no_name(context: BuildContext) -> None:
    """`models/` has what recipes say."""
    sweep(context)
    assert not context.project.models_dir.exists()


def test_nothing_is_measured_twice(context: BuildContext, made: Made) -> None:
    """Another search, in another process, reads what is there; so does the build."""
    sweep(context)
    before = [*made.ran]
    again = context_of(context.project, made)
    results = tuned(trials_of(again), Finals(confirmed), watch=lambda _: None, tell=lambda *_: None)
    best = smallest(results.found)
    assert best is not None
    assert best.point.name == "int4-asym-g32-r1"
    write_settings(again.recipe("m"), "int4", best.point.variant)
    from ovrecipe.build.run import Target, try_to_build

    report = try_to_build(
        context_of(context.project, made), [Target("m", "int4")], watch=lambda _: None
    )
    report.check_success()
    assert made.ran == before
    assert (context.project.models_dir / "m" / "int4" / "openvino_model.bin").exists()


def test_a_search_that_is_stopped_keeps_what_was_measured(
    context: BuildContext, made: Made
) -> None:
    """The next call goes on."""
    made.fails["check:int4-asym-g32-r1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        sweep(context)
    assert made.ran[-1] == "check:int4-asym-g32-r1"
    before = [*made.ran]
    made.fails.clear()
    assert len(sweep(context_of(context.project, made)).found) == 4
    ran = made.ran[len(before) :]
    assert ran[0] == "check:int4-asym-g32-r1"
    assert not {*ran[1:]} & {*before}


@pytest.mark.parametrize(
    ("title", "error"),
    [
        ("weights:int4-asym-g32-r1", StageError("weights m:int4-asym-g32-r1: no")),
        ("check:int4-asym-g32-r1", GateError("check m:int4-asym-g32-r1: it says nothing")),
    ],
)
def test_a_point_that_fails_is_left_out_with_its_reason(
    context: BuildContext, made: Made, title: str, error: Exception
) -> None:
    """The other points are measured all the same."""
    made.fails[title] = error
    results = sweep(context)
    assert results.impossible == {"int4-asym-g32-r1": str(error)}
    assert len(results.found) == 3


def test_of_points_that_are_measured_side_by_side_each_has_its_own_reason(
    context: BuildContext, made: Made
) -> None:
    """The two smallest are the first turn."""
    names = ("int4-asym-g64-r1", "int4-asym-g32-r1")
    for name in names:
        made.fails[f"weights:{name}"] = StageError(f"weights m:{name}: no {name}")
    results = sweep(context_of(context.project, made, jobs=2))
    assert results.impossible == {name: f"weights m:{name}: no {name}" for name in names}
    assert len(results.found) == 2


@pytest.mark.parametrize(
    ("title", "error"),
    [
        ("reference", GateError("the exported IR computes something else")),
        ("source", StageError("no checkpoint")),
        ("assemble:int4-asym-g32-r1", StoreError("the disk is gone")),
    ],
)
def test_what_would_fail_for_every_point_ends_the_search(
    context: BuildContext, made: Made, title: str, error: Exception
) -> None:
    """It is no point's fault, and the next one would meet it again."""
    made.fails[title] = error
    with pytest.raises(type(error), match=str(error)):
        sweep(context)


def test_what_the_compressor_warned_of_is_a_points_warning(context: BuildContext) -> None:
    """AWQ that did nothing settles all other points with AWQ."""
    results = sweep(context, awq=(True,), ratio=(1.0,))
    assert [one.warning for one in results.found] == ["awq matched no layer"]


def test_a_point_that_the_knobs_make_impossible_is_not_built(
    context: BuildContext, made: Made
) -> None:
    """It is named with what the compressor objects to."""
    trials = trials_of(context, scale_estimation=(False, True), ratio=(0.5,))
    [(name, reason)] = trials.impossible.items()
    assert name == "int4-asym-g64-r0.5-scale"
    assert "scale_estimation: needs data" in reason
    assert [one.point.name for one in trials.candidates] == ["int4-asym-g64-r0.5"]
    [found] = trials.measure(trials.candidates, lambda _: None)
    assert isinstance(found, Found)
    assert "weights:int4-asym-g64-r0.5-scale" not in made.ran
