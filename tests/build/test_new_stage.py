"""A stage is one module and one line of the table; everything else knows it from there."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.dodo import recipe_tasks
from ovrecipe.build.events import Event, Planned
from ovrecipe.build.run import BuildReport, Target, reasons, try_to_build
from ovrecipe.build.stages import assemble, base, intermediate_stages, source, weights
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.errors import GateError
from ovrecipe.recipe.project import Project, find_project
from ovrecipe.store.disk import link_file
from tests.build import audit_stage
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def link_weights(job: Job, context: StageContext) -> dict[str, Any]:
    """Assemble a directory without a tokenizer."""
    for name in ("openvino_model.xml", "openvino_model.bin"):
        link_file(job.inputs["weights"] / name, job.output_dir / name)
    return {}


#: A route that needs no model, and the new stage as its last line.
STAGES: tuple[Stage, ...] = (
    source.STAGE,
    base.STAGE,
    weights.STAGE,
    replace(assemble.STAGE, inputs=always("weights"), links=("weights",), run=link_weights),
    audit_stage.STAGE,
)
INT4 = Target("m", "int4")
ROUTE = ["source m", "base m", "weights m:int4", "assemble m:int4", "audit m:int4"]


@pytest.fixture
def context(project: Project, monkeypatch: pytest.MonkeyPatch) -> BuildContext:
    """A build over the table with the new stage."""
    # The worker imports the stage's module, which is not installed.
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    write_recipe(project, "m", fake_recipe())
    return fresh(project)


def fresh(project: Project) -> BuildContext:
    """Return what the next command works with."""
    found = find_project(project.root, dict(os.environ))
    return BuildContext(found, plugin_options=(FAKE_PLUGIN,), stages=STAGES)


def built(context: BuildContext) -> tuple[list[str], BuildReport, list[Event]]:
    """Build one variant; return the stages that ran, the report and the events."""
    told: list[Event] = []
    report = try_to_build(context, [INT4], watch=told.append)
    return [title for title, _ in report.ran], report, told


def test_it_is_built_with_the_view_after_it(context: BuildContext) -> None:
    """A gate is a gate by what its module says."""
    ran, report, told = built(context)
    report.check_success()
    assert ran == ROUTE
    assert told[0] == Planned(tuple(ROUTE))
    view = context.project.models_dir / "m" / "int4"
    assert sorted(path.name for path in view.iterdir()) == [
        "manifest.json", "openvino_model.bin", "openvino_model.xml",
    ]  # fmt: skip
    assert report.ran[-1][1].facts["bytes"] > 0


def test_nothing_is_done_twice(context: BuildContext) -> None:
    """And nothing is planned, so that nobody waits for a bar that never moves."""
    built(context)
    ran, report, told = built(fresh(context.project))
    assert (ran, report.errors, told) == ([], [], [Planned(())])


def test_without_its_result_the_view_is_not_built(context: BuildContext) -> None:
    """Only the gate is asked again, whatever was collected before it."""
    built(context)
    shutil.rmtree(context.store.root / "base")
    shutil.rmtree(context.store.root / "audit")
    again = fresh(context.project)
    [*stages, view] = reasons(again, [INT4])
    assert stages[-1] == {
        "stage": "audit m:int4", "up_to_date": False, "differences": [], "reason": "never built",
    }  # fmt: skip
    assert view["reason"] == "no view leads to a checked artifact of this recipe"
    ran, report, told = built(again)
    assert (ran, report.errors) == (["audit m:int4"], [])
    assert told[0] == Planned(("audit m:int4",))


def test_why_says_of_a_gate_that_it_refused_and_where_it_says_more(
    context: BuildContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """'never built' would send the user to build it again."""
    monkeypatch.setenv("AUDIT_REFUSES", "1")
    _, report, _ = built(fresh(context.project))
    [error] = report.errors
    assert isinstance(error, GateError)
    assert not (context.project.models_dir / "m").exists()
    row = next(row for row in reasons(context, [INT4]) if row["stage"] == "audit m:int4")
    [log] = context.store.logs_dir.iterdir()
    assert row["reason"] == f"failed when it was last built; its log is {log}"
    assert "the weights look odd" in log.read_text()


def test_doit_lists_it_and_waits_for_it(context: BuildContext) -> None:
    """Its task, its sentence, and its place in the setup of the view."""
    found = {
        ":".join(filter(None, [task["basename"], task.get("name")])): task
        for task in recipe_tasks(context.plan("m"), lambda event: None)
    }
    assert found["audit:m:int4"]["doc"] == "the gate that counts bytes"
    assert found["audit:m:int4"]["setup"] == ["assemble:m:int4"]
    assert found["build:m:int4"]["setup"] == ["assemble:m:int4", "audit:m:int4"]


def test_what_is_intermediate_is_read_from_the_table() -> None:
    """`gc --intermediates` removes these, and keeps what a new stage made."""
    assert intermediate_stages() == ("source", "base")
    checked = replace(audit_stage.STAGE, is_intermediate=True)
    assert intermediate_stages((*STAGES, checked)) == ("source", "base", "audit")
