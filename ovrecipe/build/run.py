"""Variants from Python: building them (`ovrecipe build`), and why they would be (`why`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.build.events import Event, Finished, Planned, Taken, Watch
from ovrecipe.build.execute import Doable, ViewWork, Work
from ovrecipe.build.judge import raise_first
from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.store.key import differences
from ovrecipe.store.manifest import Manifest
from ovrecipe.store.views import view_target
from ovrecipe.wording import counted

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext


class Target(NamedTuple):
    """One variant of one recipe."""

    name: str
    variant: str

    def __str__(self) -> str:
        return f"{self.name}:{self.variant}"


@dataclass
class BuildReport:
    """What a build did: the stages that really ran, in the order in which they ended.

    `taken` are those whose artifacts came from a store elsewhere instead.
    """

    ran: list[tuple[str, Manifest]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def check_success(self) -> None:
        """Raise the first error, if there was one; the others are its notes."""
        raise_first(self.errors)


def try_to_build(context: BuildContext, targets: Sequence[Target], *, watch: Watch) -> BuildReport:
    """Build the targets; what failed is in the report.

    What does not depend on a failure is built all the same where the context is to keep going.

    Raises:
        OvrecipeError: a recipe cannot be read or used; nothing was started.
        KeyboardInterrupt: Ctrl-C; every process of the build is gone.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for name, variant in targets:
        wanted[name] = (*wanted.get(name, ()), variant)
    for name in wanted:
        context.plan(name).judge()
    report = BuildReport()

    def tell(event: Event) -> None:
        if isinstance(event, Finished):
            report.ran.append((event.title, event.manifest))
        elif isinstance(event, Taken):
            report.taken.append(event.title)
        watch(event)

    views = (ViewWork(context.plan(name), variant, wanted[name]) for name, variant in targets)
    missing = [view for view in views if not view.is_up_to_date()]
    watch(Planned(_planned(context, missing)))
    if missing:
        try:
            report.errors += run_tasks(context, missing, tell, keep_going=context.keep_going)
        except KeyboardInterrupt:
            context.cancel()
            raise
    return report


def _planned(context: BuildContext, views: Sequence[ViewWork]) -> tuple[str, ...]:
    """Return the titles of the stages that the views need and that are not built, as on the way."""
    found: dict[str, Work] = {}
    waiting = [work for view in views for work in view.needs()]
    while waiting:
        work = waiting.pop(0)
        if work.title not in found and not work.is_up_to_date():
            found[work.title] = work
            waiting += work.needs()
    places = {stage.name: place for place, stage in enumerate(context.stages)}
    return tuple(sorted(found, key=lambda title: places[found[title].kind]))


def run_tasks(
    context: BuildContext, works: Sequence[Doable], watch: Watch, *, keep_going: bool
) -> list[Exception]:
    """Run the tasks of the works, and what comes before them; return what failed.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    from ovrecipe.build.dodo import DOIT_CONFIG, Failures, recipe_tasks, with_companions

    def task_recipes() -> Iterator[dict[str, Any]]:
        asked = {work.plan.recipe.name: (work.plan, work.wanted) for work in works}
        for plan, wanted in with_companions(asked.values()):
            yield from recipe_tasks(plan, watch, wanted=wanted)

    context.failed.clear()
    failures = Failures()
    jobs = context.jobs if context.jobs > 1 else 0
    settings = {**DOIT_CONFIG, "reporter": failures, "num_process": jobs}
    loader = ModuleTaskLoader({"task_recipes": task_recipes, "DOIT_CONFIG": settings})
    words = ["run", *(["--continue"] if keep_going else []), *(work.task_name for work in works)]
    code = DoitMain(loader, config_filenames=()).run(words)
    if context.cancelled():
        raise KeyboardInterrupt
    if not failures.errors and (failures.others or code):
        detail = "\n".join(failures.others) or f"exit code {code}"
        raise RuntimeError(f"doit failed on {', '.join(map(str, works))}: {detail}")
    return failures.errors


def built_manifests(context: BuildContext, target: Target) -> dict[str, Manifest]:
    """Return, by stage, the manifests of a target's directory, its gates and what it is made from.

    What was built is there while its view is; what it was made from may have been collected.

    Raises:
        NotBuilt: the directory's manifest is gone.
        ArtifactCorrupt: one of the manifests is damaged.
    """
    view, store = ViewWork(context.plan(target.name), target.variant), context.store
    works = view.works(view.plan.stages, (target.variant,))
    keys = [key for work in works if (key := work.key()) and store.has(key)]
    if view.assembled.key() not in keys:
        raise NotBuilt(f"{target} is not built", remedy=f"ovrecipe build {target}")
    return {key.stage: store.manifest(key) for key in keys}


def reasons(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row for every stage of the targets, in the order of the route.

    Raises:
        OvrecipeError: a recipe cannot be read, or its keys cannot be known.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, variant in targets:
        view = ViewWork(context.plan(name), variant)
        for work in view.works(view.plan.stages, (variant,)):
            if work.title not in rows:
                rows[work.title] = {} if work.is_done() else _reason(work)
        found = "; ".join(view.objections())
        reason = (
            f"not accepted: {found}"
            if found
            else "no view leads to a checked artifact of this recipe"
        )
        rows[view.title] = {} if view.is_done() else {"reason": reason}
    return [
        {"stage": title, "up_to_date": not row, "differences": [], **row}
        for title, row in rows.items()
    ]


def _reason(work: Work) -> dict[str, Any]:
    key, store = work.key(), work.context.store
    if key is None:
        return {"reason": "the checkpoint was not asked for yet, so its commit is unknown"}
    if damage := store.damage(key):
        return {"reason": f"damaged: {damage}"}
    if store.log_path(key).exists():
        return {"reason": f"failed when it was last built; its log is {store.log_path(key)}"}
    damaged: list[ArtifactCorrupt] = []
    stored = store.nearest(key, damaged.append, among=_related(work))
    what = counted(len(damaged), "damaged artifact")
    left_out = f" (not compared: {what}, see 'ovrecipe verify')" if damaged else ""
    if stored is None:
        return {"reason": f"never built{left_out}"}
    found = [
        {"field": field, "stored": before, "wanted": after}
        for field, before, after in differences(key.document, stored.key)
    ]
    return {"reason": f"not built with these settings{left_out}", "differences": found}


def _related(work: Work) -> set[str]:
    """Return what is of the recipe's model: made from what it wants, or in or beside its views.

    Everything else in the store is another model's, and no neighbour of what is missing.
    """
    store, plan = work.context.store, work.plan
    damaged: list[ArtifactCorrupt] = []
    artifacts = store.artifacts(damaged.append)
    inputs = {sha256: set(manifest.inputs) for _, sha256, manifest in artifacts}
    models_dir = work.context.project.models_dir
    views = [view_target(models_dir, plan.recipe.name, variant) for variant in plan.recipe.variants]
    waiting = [target.name for target in views if target is not None]
    related = plan.wanted_keys()
    while waiting:
        sha256 = waiting.pop()
        related.add(sha256)
        waiting += inputs.get(sha256, set()) - related
    while grown := {made for made, read in inputs.items() if read & related} - related:
        related |= grown
    return related
