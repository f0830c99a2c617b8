"""The doit tasks of recipes, and doit's door: what a project's dodo.py imports.

One task per stage, and `build:NAME` and `build:NAME:VARIANT` on top. The store decides what is up
to date, never doit's own records. A stage's inputs are setup tasks, which doit runs only when the
stage itself must run: what is built stays built even when what it came from was collected since.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from doit.action import BaseAction
from doit.exceptions import BaseFail, InvalidDodoFile, TaskFailed
from doit.reporter import ConsoleReporter, ZeroReporter

from ovrecipe.build.context import BuildContext, RecipePlan
from ovrecipe.build.events import Lines, Watch
from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.judge import raise_first
from ovrecipe.build.taking import Taking
from ovrecipe.ending import INTERRUPTED, STOPPED, end_when_lost, require_streams
from ovrecipe.errors import OvrecipeError
from ovrecipe.recipe.project import find_project, named_by, recipe_names

#: doit does not show a task whose name begins like that.
TAKE = "_take"
BUILD = "build:"


class BuildFailure(TaskFailed):  # type: ignore[misc]
    """A failed task that remembers what was raised, for the exit code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error

    def get_msg(self) -> str:
        """Return the message alone for a known error, the traceback for a bug."""
        if isinstance(self.error, OvrecipeError):
            return "\n".join([str(self.error), *getattr(self.error, "__notes__", ())])
        return "".join(traceback.format_exception(self.error))

    def get_name(self) -> str:
        """Return the error's kind, which doit prints before the task's name."""
        return type(self.error).__name__


class NotTriedError(OvrecipeError):
    """What a stage needs has failed, which was said."""


@dataclass(eq=False, repr=False)
class WorkAction(BaseAction):  # type: ignore[misc]
    """Does something inside doit, without doit's redirection of standard output.

    `needs` are the titles of what it cannot be done without.
    """

    context: BuildContext
    title: str
    do: Callable[[], None]
    needs: frozenset[str] = frozenset()
    values: dict[str, Any] = field(default_factory=dict)
    task = out = err = result = None

    def execute(self, out: Any = None, err: Any = None) -> BaseFail | None:  # noqa: ARG002
        """Do it; whatever is raised becomes a failed task."""
        try:
            self._check_needs()
            self.do()
        except Exception as error:  # noqa: BLE001 - kept in the failure, which is reported
            self.context.failed.add(self.title)
            return BuildFailure(error)
        return None

    def _check_needs(self) -> None:
        """Raise where a need has failed: doit goes on with a task whose setup did."""
        if lacking := sorted(self.needs & self.context.failed):
            raise NotTriedError(f"{self.title}: not tried, for {lacking[0]} failed")

    def __str__(self) -> str:
        # For `doit info`.
        return self.title


def recipe_tasks(
    plan: RecipePlan, watch: Watch, *, wanted: tuple[str, ...] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a recipe; `wanted` are the variants that this build was asked for."""
    recipe = plan.recipe
    optional = [name for name, variant in recipe.variants.items() if variant.optional]
    also = f" (when named: {', '.join(optional)})" if optional else ""
    views = [ViewWork(plan, variant, wanted) for variant in recipe.variants]
    yield {
        "basename": f"{BUILD}{recipe.name}",
        "doc": f"{recipe.model.id} as {', '.join(recipe.default_variants())}{also}",
        "actions": None,
        "task_dep": [f"{BUILD}{recipe.name}:{name}" for name in recipe.default_variants()],
        "clean": [_cleaning(view) for view in views],
    }
    for view in views:
        doc = f"{recipe.model.id} as {view.variant}, at models/{recipe.name}/{view.variant}"
        yield {"basename": view.task_name, **_task(view, doc, watch)}
    for work in views[0].works(plan.stages, tuple(recipe.variants)):
        names = {"basename": work.kind, "name": work.target}
        yield {**names, **_task(work, work.stage.doc, watch), **_taking(work)}
        if plan.context.remote is not None:
            yield _take_task(work, watch)


def _task(work: Work | ViewWork, doc: str, watch: Watch) -> dict[str, Any]:
    needs = work.needs()
    titles = frozenset(needed.title for needed in needs)
    return {
        "doc": doc,
        "actions": [WorkAction(work.context, work.title, partial(work.do, watch), titles)],
        "uptodate": [work.is_up_to_date],
        "setup": [needed.task_name for needed in needs],
        "clean": [_cleaning(work)],
        "title": lambda _: work.title,
    }


def _taking(work: Work) -> dict[str, Any]:
    """Return what lets a stage wait until a store elsewhere was asked, if there is one.

    It is asked before the stage's inputs are looked at: what is there needs none of them.
    """
    is_asked = work.context.remote is not None
    return {"task_dep": [f"{TAKE}:{work.task_name}"]} if is_asked else {}


def _take_task(work: Work, watch: Watch) -> dict[str, Any]:
    taking = Taking(work)
    return {
        "basename": TAKE,
        "name": work.task_name,
        "actions": [WorkAction(work.context, taking.title, partial(taking.do, watch))],
        "uptodate": [work.is_up_to_date],
    }


def _cleaning(work: Work | ViewWork) -> WorkAction:
    return WorkAction(work.context, f"remove what {work.title} made", work.clean)


class Failures(ZeroReporter):  # type: ignore[misc]
    """The reporter of `try_to_build`: keeps failures and says nothing, for the watch has spoken."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.others: list[str] = []

    def add_failure(self, task: Any, fail: BaseFail) -> None:
        """Keep what went wrong; a task that only lacks its inputs adds nothing.

        Of what several stages found out at once, one error is kept.
        """
        if isinstance(fail, BuildFailure):
            is_known = any(str(error) == str(fail.error) for error in self.errors)
            if not is_known and not isinstance(fail.error, NotTriedError):
                self.errors.append(fail.error)
        elif fail.get_name() != "UnmetDependency":
            self.others.append(f"{task.name}: {fail.get_msg()}")

    def runtime_error(self, msg: BaseFail | str) -> None:
        """Keep doit's own trouble."""
        self.others.append(str(msg))

    cleanup_error = runtime_error


class DoorReporter(ConsoleReporter):  # type: ignore[misc]
    """doit's own reporter, which ends cleanly when the build is stopped."""

    def initialize(self, tasks: dict[str, Any], selected_tasks: Sequence[str]) -> None:
        """Let a SIGTERM end the build as Ctrl-C does."""
        super().initialize(tasks, selected_tasks)
        actions = [action for task in tasks.values() for action in task.actions]
        self.contexts = {action.context for action in actions if isinstance(action, WorkAction)}
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def complete_run(self) -> None:
        """Wait until everything that was at work is gone, and say so in a line.

        Raises:
            SystemExit: the build was stopped, or its output is full or left.
        """
        ending = sys.exception()
        if not isinstance(ending, KeyboardInterrupt | SystemExit):
            super().complete_run()
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for context in self.contexts:
            context.cancel()
        if isinstance(ending, SystemExit):
            text = str(ending)  # all that doit's threads hand on
            raise SystemExit(int(text) if text.isdigit() else ending.code)
        self.write(f"{STOPPED}\n")
        raise SystemExit(INTERRUPTED)


#: Bare `doit` names what can be built instead of building every model there is. doit's records
#: live in memory: the store knows what is built, and a build that was killed forgets nothing.
#: `-n 2` runs threads, which share one memory budget; the heavy work is in processes anyway.
DOIT_CONFIG = {
    "default_tasks": ["help"],
    "verbosity": 2,
    "backend": "sqlite3",
    "dep_file": ":memory:",
    "par_type": "thread",
    "reporter": DoorReporter,
}


def all_tasks(
    root: Path, *, plugin_options: tuple[str, ...] = (), words: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the tasks of the recipes of the project at `root` that doit may be asked for.

    `plugin_options` are what `-p` takes, `words` doit's command line, else this process's. A broken
    recipe becomes a task that fails.

    Raises:
        InvalidDodoFile: there is no project at `root`, or a recipe or variant of doit's command
            line does not exist or is broken; doit says so without a traceback.
        SystemExit: standard output is closed; whatever finds it full or left later ends likewise.
    """
    require_streams()
    end_when_lost()
    words = sys.argv[1:] if words is None else words
    keep_going = not {"-c", "--continue"}.isdisjoint(words)
    asked = [word for word in words if word.startswith(BUILD)]
    try:
        project = find_project(root, dict(os.environ))
        context = BuildContext(project, plugin_options=plugin_options, keep_going=keep_going)
        plain = [word.removeprefix(BUILD) for word in asked if "*" not in word]
        named = [named_by(word, context.recipe)[0].name for word in plain]
    except OvrecipeError as error:
        raise InvalidDodoFile(str(error)) from error
    # To build one model, those of all others need not be read.
    names = named if named and _names_builds_only(words) else recipe_names(project)
    help_action = (_say_what_can_be_built, [names])
    yield {"basename": "help", "doc": "say what can be built", "actions": [help_action]}
    for stage in context.stages:
        yield {"basename": stage.name, "name": None, "doc": stage.doc}
    yield from _tasks_of(context, names, asked)


def _names_builds_only(words: Sequence[str]) -> bool:
    """Return whether doit is called for builds of named recipes alone: `run -n 2 build:phi-2`."""
    rest = [word for word in words if not word.startswith("-") and not word.isdecimal()]
    rest = rest[1:] if rest[:1] == ["run"] else rest
    return all(word.startswith(BUILD) and "*" not in word for word in rest)


def _tasks_of(
    context: BuildContext, names: Iterable[str], asked: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the tasks of recipes, and of those of which they read variants."""
    watch = Lines(sys.stderr)
    broken: dict[str, OvrecipeError] = {}
    read: dict[str, tuple[RecipePlan, set[str]]] = {}
    for name in names:
        try:
            plan = context.plan(name)
            for other, variants in with_companions([(plan, _wanted(plan, asked))]):
                read.setdefault(other.recipe.name, (other, set()))[1].update(variants)
        except OvrecipeError as error:
            broken[name] = error
    for name, (plan, wanted) in read.items():
        try:
            in_order = tuple(variant for variant in plan.recipe.variants if variant in wanted)
            tasks = [*recipe_tasks(plan, watch, wanted=in_order)]
        except OvrecipeError as error:
            broken[name] = error
        else:
            broken.pop(name, None)  # it has its tasks; who reads what is broken fails by itself
            yield from tasks
    for name, broken_by in broken.items():
        doc = f"cannot be built: {str(broken_by).splitlines()[0]}"
        refusal = WorkAction(context, f"read {name}", partial(raise_first, [broken_by]))
        yield {"basename": f"{BUILD}{name}", "doc": doc, "actions": [refusal]}


def with_companions(
    asked: Iterable[tuple[RecipePlan, tuple[str, ...]]],
) -> list[tuple[RecipePlan, tuple[str, ...]]]:
    """Return plans and their wanted variants, with those of other recipes that their stages read.

    Where no variant of a plan is wanted, all may be asked for.

    Raises:
        RecipeError: a recipe that is read does not exist, or is broken.
    """
    found = {plan.recipe.name: (plan, [*wanted]) for plan, wanted in asked}
    waiting = [
        (plan, variant)
        for plan, wanted in found.values()
        for variant in wanted or plan.recipe.variants
    ]
    seen: set[tuple[str, str]] = set()
    while waiting:
        plan, variant = waiting.pop(0)
        if (plan.recipe.name, variant) in seen:
            continue
        seen.add((plan.recipe.name, variant))
        for stage in plan.stages:
            for reading in stage.variants((variant,)):
                for other, its_variant in plan.companions(stage, reading).values():
                    if other is not plan:
                        found.setdefault(other.recipe.name, (other, []))[1].append(its_variant)
                    waiting.append((other, its_variant))
    return [(plan, tuple(dict.fromkeys(wanted))) for plan, wanted in found.values()]


def _wanted(plan: RecipePlan, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the variants of a recipe that the words of doit's command line name."""
    recipe = plan.recipe
    name = f"{BUILD}{recipe.name}"
    by_name = recipe.default_variants() if any(fnmatch(name, word) for word in asked) else ()
    return tuple(
        variant
        for variant in recipe.variants
        if variant in by_name or any(fnmatch(f"{name}:{variant}", word) for word in asked)
    )


def _say_what_can_be_built(names: Sequence[str]) -> None:
    print("Name what to build, for example 'doit build:NAME' or 'doit build:NAME:VARIANT':")
    print("".join(f"  doit {BUILD}{name}\n" for name in names), end="")
