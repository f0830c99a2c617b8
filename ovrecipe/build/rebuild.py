"""Building variants again beside what is built, to see whether the same bytes come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ovrecipe.build.context import BuildContext
from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.errors import NotBuilt
from ovrecipe.store.disk import files_below, link_file
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import Manifest

if TYPE_CHECKING:
    from ovrecipe.build.events import Watch
    from ovrecipe.store.store import Store


class Difference(NamedTuple):
    """A file that is not the same: `stage` is as on screen (`weights m:int4`)."""

    stage: str
    file: str
    message: str


class Comparison(NamedTuple):
    """What came of building again: files that were compared, what differs, what was collected."""

    files: int
    differences: list[Difference]
    missing: list[str]


def rebuilt(context: BuildContext, targets: Sequence[Target], watch: Watch) -> Comparison:
    """Build the targets again in a store of their own, which is removed, and compare every file.

    The checkpoint is shared: its files are the source's, not ours.

    Raises:
        NotBuilt: a target is not built from its recipe of now.
        OvrecipeError: building again failed.
    """
    for name, variant in targets:
        if not ViewWork(context.plan(name), variant).is_up_to_date():
            remedy = f"build it with 'ovrecipe build {name}:{variant}'"
            raise NotBuilt(f"{name}:{variant} is not built from its recipe of now", remedy=remedy)
    key = Key("rebuild", {"targets": [str(target) for target in targets]})
    with context.store.staging(key) as folder:
        project = replace(context.project, store_dir=folder / "store", models_dir=folder / "models")
        again = BuildContext(
            project,
            plugin_options=context.plugin_options,
            force=context.force,
            jobs=context.jobs,
            stages=context.stages,
        )
        for work in _works(context, targets):
            if work.kind == context.stages[0].name:
                _share(work, context.store, again.store)
        try_to_build(again, targets, watch=watch).check_success()
        return _compared(context, targets, again.store)


def _works(context: BuildContext, targets: Sequence[Target]) -> Iterator[Work]:
    """Yield the work of every stage of the targets, each once, in the order of the route."""
    seen: set[str] = set()
    for place in range(len(context.stages)):
        for name, variant in targets:
            view = ViewWork(context.plan(name), variant)
            for work in view.works([view.plan.stages[place]], (variant,)):
                if work.title not in seen:
                    seen.add(work.title)
                    yield work


def _share(work: Work, store: Store, other: Store) -> None:
    """Link an artifact into another store, if it is there."""
    key = work.plan.pinned_key(work.kind, work.variant)
    if not store.has(key):
        return
    here, there = store.artifact_dir(key), other.artifact_dir(key)
    other.prepare()
    for path in files_below(here):
        target = there / path.relative_to(here)
        target.parent.mkdir(parents=True, exist_ok=True)
        link_file(path, target)


def _compared(context: BuildContext, targets: Sequence[Target], again: Store) -> Comparison:
    files, differences, missing = 0, list[Difference](), list[str]()
    for work in _works(context, targets):
        key = work.plan.pinned_key(work.kind, work.variant)
        if work.kind == context.stages[0].name:
            continue
        if not context.store.has(key):
            missing.append(work.title)
            continue
        before, now = context.store.manifest(key), again.manifest(key)
        files += len(before.files)
        differences += _differences(work.title, before, now)
    return Comparison(files, differences, missing)


def _differences(stage: str, before: Manifest, now: Manifest) -> Iterator[Difference]:
    for name in sorted({*before.files, *now.files}):
        was, is_now = before.files.get(name), now.files.get(name)
        if was is None or is_now is None:
            message = "was not there before" if was is None else "was not made again"
            yield Difference(stage, name, message)
        elif was.sha256 != is_now.sha256:
            sizes = f"{was.size_bytes} bytes, now {is_now.size_bytes}"
            same = was.size_bytes == is_now.size_bytes
            yield Difference(stage, name, "other bytes" if same else f"had {sizes}")
