"""The doit graph: one task per stage, and `build:NAME` and `build:NAME:VARIANT` on top.

The store decides what is up to date, never doit's own records. A stage's inputs are setup tasks,
which doit runs only when the stage itself must run: what is built stays built even when the base
IR that it came from was collected since.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from doit.action import BaseAction
from doit.exceptions import BaseFail, TaskFailed

from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.observer import LineObserver, Observer
from ovrecipe.build.stages import STAGES
from ovrecipe.errors import OvrecipeError
from ovrecipe.recipe.project import recipe_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.plan import RecipePlan

STAGE_DOCS = {
    "source": "the checkpoint at one commit, on this disk",
    "base": "the IR in the checkpoint's own dtype",
    "tokenizer": "the OpenVINO tokenizer and detokenizer",
    "conformance": "the tokenizer's gate",
    "weights": "one variant's weights, compressed from the base",
    "assemble": "the directory that LLMPipeline opens",
    "check": "the gate that the model answers",
}


class BuildFailure(TaskFailed):  # type: ignore[misc]
    """A failed task that remembers what was raised, for the exit code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error

    def get_msg(self) -> str:
        """Return the message alone; a known error has no traceback."""
        return str(self.error)

    def get_name(self) -> str:
        """Return the error's kind, which doit prints before the task's name."""
        return type(self.error).__name__


class WorkAction(BaseAction):  # type: ignore[misc]
    """Does a piece of work inside doit, without doit's redirection of standard output."""

    def __init__(self, work: Work | ViewWork, observer: Observer | None) -> None:
        self.work = work
        self.observer = observer
        self.task = None
        self.out: str | None = None
        self.err: str | None = None
        self.result = None
        self.values: dict[str, Any] = {}

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:  # noqa: ARG002
        """Do it; a known error becomes a failed task.

        A bug does too when an observer was given, for then `build` raises it again; doit itself
        shows its traceback.
        """
        try:
            self.work.do(self.observer or LineObserver(sys.stderr))
        except OvrecipeError as error:
            return BuildFailure(error)
        except Exception as bug:
            if self.observer is None:
                raise
            return BuildFailure(bug)
        return None

    def __str__(self) -> str:
        """Say what is done, for `doit info`."""
        return self.work.title


class _Refusal:
    """The work of a recipe that cannot be read: to say why, when it is asked for."""

    def __init__(self, name: str, error: OvrecipeError) -> None:
        self.title = f"read recipe {name}"
        self.error = error

    def do(self, observer: Observer) -> None:  # noqa: ARG002
        """Raise what reading raised."""
        raise self.error


def tasks(
    context: BuildContext, observer: Observer | None = None, *, only: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the tasks of every recipe, or of one.

    A broken recipe becomes a task that says what is wrong with it when it is asked for.
    """
    for name in recipe_names(context.project) if only is None else [only]:
        try:
            plan = context.plan(name)
        except OvrecipeError as error:
            yield _broken_task(name, error)
            continue
        yield from _recipe_tasks(context, plan, observer)


def _broken_task(name: str, error: OvrecipeError) -> dict[str, Any]:
    return {
        "basename": f"build:{name}",
        "doc": f"cannot be built: {str(error).splitlines()[0]}",
        "actions": [WorkAction(_Refusal(name, error), None)],  # type: ignore[arg-type]
        "uptodate": [False],
    }


def _recipe_tasks(
    context: BuildContext, plan: RecipePlan, observer: Observer | None
) -> Iterator[dict[str, Any]]:
    recipe = plan.recipe
    optional = [name for name, each in recipe.variants.items() if each.optional]
    also = f" (when named: {', '.join(optional)})" if optional else ""
    yield {
        "basename": f"build:{recipe.name}",
        "doc": f"{recipe.model.id} as {', '.join(recipe.default_variants())}{also}",
        "actions": None,
        "task_dep": [f"build:{recipe.name}:{each}" for each in recipe.default_variants()],
    }
    for variant in recipe.variants:
        yield _view_task(context, plan, variant, observer)
    for stage in STAGES:
        for each in recipe.variants if stage.per_variant else (None,):
            yield _stage_task(Work(context, plan, stage, each), observer)


def _view_task(
    context: BuildContext, plan: RecipePlan, variant: str, observer: Observer | None
) -> dict[str, Any]:
    work = ViewWork(context, plan, variant)
    name = plan.recipe.name
    return {
        "basename": f"build:{name}:{variant}",
        "doc": f"{plan.recipe.model.id} as {variant}, at models/{name}/{variant}",
        "actions": [WorkAction(work, observer)],
        "uptodate": [work.is_up_to_date],
        # The gate's result may have outlived what it judged (removed by `verify --remove`).
        "setup": [f"assemble:{name}:{variant}", f"check:{name}:{variant}"],
        "clean": [work.clean],
        "title": work.task_title,
    }


def _stage_task(work: Work, observer: Observer | None) -> dict[str, Any]:
    recipe = work.plan.recipe
    return {
        "basename": work.stage.name,
        "name": f"{recipe.name}:{work.variant}" if work.variant else recipe.name,
        "doc": STAGE_DOCS[work.stage.name],
        "actions": [WorkAction(work, observer)],
        "uptodate": [work.is_up_to_date],
        "setup": [
            f"{name}:{recipe.name}" + (f":{work.variant}" if _per_variant(name) else "")
            for name in work.stage.inputs(recipe, work.variant)
        ],
        "clean": [work.clean],
        "title": work.task_title,
    }


def _per_variant(stage_name: str) -> bool:
    return any(each.per_variant for each in STAGES if each.name == stage_name)


def stage_groups() -> Iterator[dict[str, Any]]:
    """Yield the groups under which `doit list --all` shows the stages."""
    for stage in STAGES:
        yield {"basename": stage.name, "name": None, "doc": STAGE_DOCS[stage.name]}
