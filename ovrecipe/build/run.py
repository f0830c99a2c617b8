"""Running the graph from Python: what `ovrecipe build` and tests call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovrecipe.build.events import Finished, Planned
from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.errors import NotBuilt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Event, Watch
    from ovrecipe.store.manifest import Manifest


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


def build(context: BuildContext, targets: Sequence[Target], *, watch: Watch) -> BuildReport:
    """Build the targets and return what was done; finished stages stay when one fails.

    Raises:
        OvrecipeError: the first thing that failed.
        KeyboardInterrupt: Ctrl-C; every process of the build is gone.
    """
    report = try_to_build(context, targets, watch=watch)
    report.require_success()
    return report


def try_to_build(
    context: BuildContext, targets: Sequence[Target], *, watch: Watch, keep_going: bool = False
) -> BuildReport:
    """Build the targets; what failed is in the report, and with `keep_going` the rest is built.

    Raises:
        OvrecipeError: a recipe cannot be read or used; nothing was started.
        KeyboardInterrupt: Ctrl-C; every process of the build is gone.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for target in targets:
        wanted[target.name] = (*wanted.get(target.name, ()), target.variant)
    for name in wanted:
        context.judge(context.plan(name))
    report = BuildReport(tuple(targets))

    def tell(event: Event) -> None:
        if isinstance(event, Finished):
            report.ran.append((event.title, event.manifest))
        watch(event)

    views = [
        ViewWork(context, context.plan(target.name), target.variant, wanted[target.name])
        for target in targets
    ]
    missing = [view for view in views if not view.is_up_to_date()]
    watch(Planned(tuple(_planned(context, missing))))
    if missing:
        try:
            report.errors += _run_doit(context, wanted, missing, tell, keep_going=keep_going)
        except KeyboardInterrupt:
            context.cancel()
            raise
    return report


def _planned(context: BuildContext, views: Sequence[ViewWork]) -> Iterator[str]:
    """Yield the titles of the stages that the views need and that are not built."""
    found: dict[str, Work] = {}
    waiting = [work for view in views for work in view.needs()]
    while waiting:
        work = waiting.pop(0)
        if work.title not in found and not work.is_up_to_date():
            found[work.title] = work
            waiting += work.needs()
    for stage in context.stages:
        yield from (title for title, work in found.items() if work.stage is stage)


def _run_doit(
    context: BuildContext,
    wanted: dict[str, tuple[str, ...]],
    views: Sequence[ViewWork],
    watch: Watch,
    *,
    keep_going: bool,
) -> list[Exception]:
    """Run the tasks of the views, and return what failed."""
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    from ovrecipe.build.dodo import DOIT_CONFIG, Failures, recipe_tasks

    def task_recipes() -> Iterator[dict[str, Any]]:
        for name, variants in wanted.items():
            yield from recipe_tasks(context, context.plan(name), watch, wanted=variants)

    failures = Failures()
    jobs = context.jobs if context.jobs > 1 else 0
    settings = {**DOIT_CONFIG, "reporter": failures, "num_process": jobs}
    loader = ModuleTaskLoader({"task_recipes": task_recipes, "DOIT_CONFIG": settings})
    words = ["run", *(["--continue"] if keep_going else []), *(view.task_name for view in views)]
    code = DoitMain(loader, config_filenames=()).run(words)
    if context.cancelled():
        raise KeyboardInterrupt
    if not failures.errors and (failures.others or code):
        detail = "\n".join(failures.others) or f"exit code {code}"
        raise RuntimeError(f"doit failed on {', '.join(map(str, views))}: {detail}")
    return failures.errors


def built_manifest(context: BuildContext, target: Target) -> Manifest:
    """Return the manifest of a target's assembled directory.

    Raises:
        NotBuilt: it was not built, or the recipe asks for something else by now.
    """
    key = ViewWork(context, context.plan(target.name), target.variant).assembled.key()
    if key is None or not context.store.has(key):
        raise NotBuilt(f"{target} is not built", remedy=f"ovrecipe build {target}")
    return context.store.manifest(key)
