"""Running the graph from Python: what `ovrecipe build` and tests call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovrecipe.build.graph import BuildFailure, stage_groups, tasks
from ovrecipe.errors import NotBuilt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.observer import Observer
    from ovrecipe.store.manifest import Manifest
    from ovrecipe.types import Progress


@dataclass(frozen=True)
class Target:
    """One variant of one recipe."""

    name: str
    variant: str

    def __str__(self) -> str:
        return f"{self.name}:{self.variant}"


@dataclass
class BuildReport:
    """What a build did: the stages that really ran, in the order in which they ended."""

    targets: tuple[Target, ...]
    ran: list[tuple[str, Manifest]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def require_success(self) -> None:
        """Raise the first error, if there was one; the others are its notes."""
        for more in self.errors[1:]:
            self.errors[0].add_note(str(more))
        if self.errors:
            raise self.errors[0]


class _Recorder:
    """Passes everything on to the observer and notes what finished."""

    def __init__(self, observer: Observer, report: BuildReport) -> None:
        self._observer = observer
        self._report = report

    def waiting(self, title: str, text: str) -> None:
        self._observer.waiting(title, text)

    def started(self, title: str, doing: str) -> None:
        self._observer.started(title, doing)

    def progress(self, title: str) -> Progress:
        return self._observer.progress(title)

    def memory(self, title: str, peak_bytes: int) -> None:
        self._observer.memory(title, peak_bytes)

    def log_kept(self, title: str, log_path: Path) -> None:
        self._observer.log_kept(title, log_path)

    def finished(self, title: str, manifest: Manifest) -> None:
        self._report.ran.append((title, manifest))
        self._observer.finished(title, manifest)

    def warned(self, title: str, text: str) -> None:
        self._observer.warned(title, text)


class _Failures:
    """doit's reporter: keeps failures and says nothing, for the observer has spoken."""

    desc = "keeps failures for the caller"

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.others: list[str] = []

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: Sequence[str]) -> None: ...
    def get_status(self, task: Any) -> None: ...
    def execute_task(self, task: Any) -> None: ...
    def add_success(self, task: Any) -> None: ...
    def skip_uptodate(self, task: Any) -> None: ...
    def skip_ignore(self, task: Any) -> None: ...
    def teardown_task(self, task: Any) -> None: ...
    def complete_run(self) -> None: ...

    def add_failure(self, task: Any, fail: Any) -> None:
        """Keep what went wrong; a task that only lacks its inputs adds nothing."""
        if isinstance(fail, BuildFailure):
            self.errors.append(fail.error)
        elif fail.get_name() != "UnmetDependency":
            self.others.append(f"{task.name}: {fail.get_msg()}")

    def cleanup_error(self, exception: Any) -> None:
        """Keep doit's own trouble."""
        self.others.append(str(exception))

    def runtime_error(self, msg: str) -> None:
        """Keep doit's own trouble."""
        self.others.append(msg)


def build(context: BuildContext, targets: Sequence[Target], *, observer: Observer) -> BuildReport:
    """Build the targets and return what was done; finished stages stay when one fails.

    Raises:
        OvrecipeError: the first thing that failed.
        KeyboardInterrupt: Ctrl-C; every process of the build is gone.
    """
    report = try_to_build(context, targets, observer=observer)
    report.require_success()
    return report


def try_to_build(
    context: BuildContext,
    targets: Sequence[Target],
    *,
    observer: Observer,
    keep_going: bool = False,
) -> BuildReport:
    """Build the targets; what failed is in the report, and with `keep_going` the rest is built.

    Raises:
        OvrecipeError: a recipe cannot be read or used; nothing was started.
        KeyboardInterrupt: Ctrl-C; every process of the build is gone.
    """
    for name in dict.fromkeys(each.name for each in targets):
        context.judge(context.plan(name))
    report = BuildReport(tuple(targets))
    failures = _Failures()
    doit = _doit(context, targets, _Recorder(observer, report), failures)
    words = ["run", *(["--continue"] if keep_going else [])]
    try:
        code = doit.run([*words, *(f"build:{each}" for each in targets)])
    except KeyboardInterrupt:
        context.cancel()
        raise
    report.errors += _errors(failures, code, context, targets)
    return report


def _doit(
    context: BuildContext, targets: Sequence[Target], recorder: _Recorder, failures: _Failures
) -> Any:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def task_recipes() -> Any:
        yield from stage_groups()
        for name in dict.fromkeys(each.name for each in targets):
            yield from tasks(context, recorder, only=name)

    loader = ModuleTaskLoader({"task_recipes": task_recipes, "DOIT_CONFIG": {"reporter": failures}})
    return DoitMain(loader, config_filenames=(), extra_config={"GLOBAL": _settings(context.jobs)})


def _settings(jobs: int) -> dict[str, Any]:
    return {
        "dep_file": ":memory:",
        "backend": "sqlite3",
        "verbosity": 2,
        "num_process": jobs if jobs > 1 else 0,
        "par_type": "thread",
    }


def _errors(
    failures: _Failures, code: int, context: BuildContext, targets: Sequence[Target]
) -> list[Exception]:
    if context.cancelled():
        raise KeyboardInterrupt
    if failures.errors:
        return failures.errors
    if failures.others or code:
        detail = "\n".join(failures.others) or f"exit code {code}"
        return [RuntimeError(f"doit failed on {', '.join(map(str, targets))}: {detail}")]
    return []


def built_manifest(context: BuildContext, target: Target) -> Manifest:
    """Return the manifest of a target's assembled directory.

    Raises:
        NotBuilt: it was not built, or the recipe asks for something else by now.
    """
    key = context.plan(target.name).key("assemble", target.variant)
    if key is None or not context.store.has(key):
        raise NotBuilt(f"{target} is not built", remedy=f"ovrecipe build {target}")
    return context.store.manifest(key)
