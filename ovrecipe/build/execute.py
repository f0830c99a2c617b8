"""Doing one piece of work: a stage (lock, staging folder, run, publish) or a variant's view."""

from __future__ import annotations

import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build import events, preflight
from ovrecipe.build.process import AGAIN, LOG_NAME, run_worker
from ovrecipe.build.stages.stage import CHECKPOINT, Job, Stage, StageContext
from ovrecipe.errors import (
    ArtifactCorrupt,
    CheckpointIncomplete,
    GateError,
    NodeLost,
    NotBuilt,
    OvrecipeError,
    StageError,
)
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.json_files import read_object
from ovrecipe.store.disk import disk_errors, removed_meanwhile
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import Manifest, read_manifest
from ovrecipe.store.views import REFUSED, leads_to, remove_view, set_view
from ovrecipe.wording import amount

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext, RecipePlan


class Doable(ABC):
    """What `Work` and `ViewWork` have in common: names, and an answer for doit.

    `wanted` are the variants of the recipe that this build was asked for, which are judged before
    the first long stage; empty means those that a bare name stands for.
    """

    plan: RecipePlan
    variant: str | None
    wanted: tuple[str, ...]
    kind: str

    @property
    def context(self) -> BuildContext:
        """What the build works with."""
        return self.plan.context

    @property
    def target(self) -> str:
        """Whom the work is for: `smollm2-135m:int4`, or the recipe alone."""
        return self.plan.recipe.name + (f":{self.variant}" if self.variant else "")

    @property
    def title(self) -> str:
        """How the work is called on screen: `weights smollm2-135m:int4`."""
        return f"{self.kind} {self.target}"

    @property
    def task_name(self) -> str:
        """How doit calls it: `weights:smollm2-135m:int4`."""
        return f"{self.kind}:{self.target}"

    def __repr__(self) -> str:
        # doit prints it where a recipe and a project would fill the screen.
        return f"<{self.title}>"

    @abstractmethod
    def is_done(self) -> bool:
        """Return whether there is nothing to do; a few stats."""

    def is_up_to_date(self) -> bool:
        """Answer doit; what cannot be known is not up to date, and doing it says why."""
        try:
            return self.is_done()
        except OvrecipeError:
            return False

    def works(self, stages: Iterable[Stage], variants: tuple[str, ...]) -> list[Work]:
        """Return the work of these stages for these variants of the same recipe."""
        return [
            Work(self.plan, stage, variant, self.wanted)
            for stage in stages
            for variant in stage.variants(variants)
        ]


@dataclass(frozen=True, repr=False)
class ViewWork(Doable):
    """One variant of one recipe, under its name."""

    plan: RecipePlan
    variant: str
    wanted: tuple[str, ...] = ()
    kind = "build"

    def needs(self) -> list[Work]:
        """Return the work that comes first: the directory, and the gates that judge it.

        A gate's result may have outlived what it judged (removed by `verify --remove`).
        """
        stages = [stage for stage in self.plan.stages if stage.publishes or stage.is_gate]
        return self.works(stages, (self.variant,))

    @property
    def assembled(self) -> Work:
        """The work whose artifact the view leads to."""
        return next(work for work in self.needs() if work.stage.publishes)

    @property
    def _place(self) -> tuple[Path, str, str]:
        return self.context.project.models_dir, self.plan.recipe.name, self.variant

    @property
    def _refused_place(self) -> tuple[Path, str, str]:
        return self.context.project.models_dir / REFUSED, self.plan.recipe.name, self.variant

    def is_done(self) -> bool:
        """Return whether the view leads to what the recipe asks for, and that passed its gates."""
        artifact_dir = self._passed_dir()
        models_dir, name, variant = self._place
        return artifact_dir is not None and leads_to(models_dir / name / variant, artifact_dir)

    def _passed_dir(self) -> Path | None:
        """Return what the view shall lead to; None unless it is whole and every gate was passed."""
        key, is_sound = self.assembled.key(), all(work.is_done() for work in self.needs())
        passed = key is not None and is_sound and not self.objections()
        return self.context.store.artifact_dir(key) if key is not None and passed else None

    def objections(self) -> list[str]:
        """Return what the recipe does not accept of what the gates found, a line each."""
        store = self.context.store
        found: list[str] = []
        for work in self.needs():
            key = work.key()
            if work.stage.is_gate and key is not None and store.has(key):
                facts = store.manifest(key).facts
                found += work.stage.objections(self.plan.recipe, self.variant, facts)
        return found

    def do(self, watch: events.Watch) -> None:  # noqa: ARG002
        """Set the view; one that leads to what is not accepted any more is removed.

        Raises:
            GateError: the recipe does not accept what a gate found; the artifact is kept.
            StageError: the directory, or the result of a gate, is not there.
            StoreError: something that is no view stands in its place.
        """
        artifact_dir = self._passed_dir()
        if artifact_dir is not None:
            set_view(self.context.store, *self._place, artifact_dir)
            remove_view(*self._refused_place)
            return
        if found := self.objections():
            self.refuse()
            has_groups = self.plan.recipe.variants[self.variant].precision not in ("fp16", "int8")
            less = "compress less (a smaller group_size or ratio, awq), or " if has_groups else ""
            raise GateError(
                "\n".join([f"{self.target}: not accepted, so it gets no name:", *found]),
                remedy=f"{less}change 'accept' in the recipe; "
                f"'ovrecipe run {self.target} --unaccepted' opens it as it is",
            )
        gone = next((work.title for work in self.needs() if not work.is_done()), "it")
        message = f"{self.title}: {gone} failed or was removed, so there is nothing to name"
        raise StageError(message, remedy=AGAIN)

    def refuse(self) -> None:
        """Take the name from what a gate refused, and keep it where `run --unaccepted` looks."""
        key, store = self.assembled.key(), self.context.store
        if key is None or not store.has(key):
            return
        models_dir, name, variant = self._place
        if leads_to(models_dir / name / variant, store.artifact_dir(key)):
            remove_view(*self._place)
        set_view(store, *self._refused_place, store.artifact_dir(key))

    def is_refused(self) -> bool:
        """Return whether what the recipe asks for was built, and refused by a gate."""
        key, store = self.assembled.key(), self.context.store
        models_dir, name, variant = self._refused_place
        return key is not None and leads_to(models_dir / name / variant, store.artifact_dir(key))

    def clean(self) -> None:
        """Remove the view; the artifact stays in the store until `ovrecipe gc`."""
        remove_view(*self._refused_place)
        if remove_view(*self._place):
            print(f"removed models/{self.plan.recipe.name}/{self.variant}")


@dataclass(frozen=True, repr=False)
class Work(Doable):
    """One stage of one recipe, to be done or found done."""

    plan: RecipePlan
    stage: Stage
    variant: str | None
    wanted: tuple[str, ...] = ()

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The stage's name."""
        return self.stage.name

    def needs(self) -> list[Work]:
        """Return the work whose artifacts are read."""
        names = self.stage.inputs(self.plan.recipe, self.variant)
        stages = [stage for stage in self.plan.stages if stage.name in names]
        own = self.works(stages, (str(self.variant),))
        return [*own, *self.companions().values()]

    def companions(self) -> dict[str, Work]:
        """Return the work whose directories of other variants are read, by the input's name."""
        found = self.plan.companions(self.stage, self.variant)
        return {
            called: ViewWork(plan, variant).assembled for called, (plan, variant) in found.items()
        }

    def follows(self, other: Work) -> bool:
        """Return whether this is the other work, or needs it, however indirectly."""
        return self.title == other.title or any(work.follows(other) for work in self.needs())

    def key(self) -> Key | None:
        """Return the wanted key; None while the checkpoint is not pinned."""
        return self.plan.key(self.stage.name, self.variant)

    def is_done(self) -> bool:
        """Return whether the wanted artifact is published and whole; a few stats."""
        key = self.key()
        return key is not None and self.context.store.has(key)

    def checkpoint_config(self) -> dict[str, Any]:
        """Return the checkpoint's config.json; {} while it is not here."""
        return read_object(self.checkpoint_dir / "config.json", error=CheckpointIncomplete)

    def tensors(self) -> list[WeightShape]:
        """Return the float tensors of the checkpoint; none while it is not here, or unknown."""
        return preflight.tensors(self.checkpoint_dir)

    def matrices(self) -> list[WeightShape]:
        """Return those of the tensors that are weights, as (..., out, in) channels."""
        return preflight.matrices(self.checkpoint_dir)

    @property
    def checkpoint_dir(self) -> Path:
        """Where the checkpoint is, once its source was fetched."""
        key = self.plan.pinned_key(self.plan.stages[0].name)
        return self.context.store.artifact_dir(key) / CHECKPOINT

    def do(self, watch: events.Watch) -> None:
        """Make the artifact unless it is there; wait while another build is making it.

        Raises:
            OvrecipeError: the stage failed; nothing was published and its log is kept.
            KeyboardInterrupt: the build was cancelled.
        """
        self.plan.judge()
        self.plan.resolve()
        key, store = self.plan.pinned_key(self.stage.name, self.variant), self.context.store

        def waiting(text: str) -> None:
            watch(events.Waiting(self.title, text))

        with store.lock(key, waiting=waiting), self.context.at_work():
            if self.is_done():
                return
            store.remove(key)  # what is left of a damaged one
            try:
                _make_somewhere(self, key, watch)
            except GateError:
                # What has its name from a time when it was judged otherwise must not keep it.
                for variant in (self.variant,) if self.variant else self.plan.recipe.variants:
                    ViewWork(self.plan, variant).refuse()
                raise
        # The observers among the plugins: by now the lock is free for whoever waits.
        arguments = {
            "stage": self.stage.name,
            "recipe": self.plan.recipe,
            "variant": self.variant,
            "artifact_dir": store.artifact_dir(key),
            "manifest": store.manifest(key).as_json(),
        }
        self.context.plugins.tell(
            "after_stage", arguments, report=lambda text: watch(events.Warned(self.title, text))
        )

    def clean(self) -> None:
        """Remove the artifact, if it is there and no running build makes or reads it."""
        store, key = self.context.store, self.key()
        if key is not None and store.artifact_dir(key).exists():
            removed = store.discard_if_unused(key.stage, key.sha256)
            print(f"removed {key}" if removed else f"kept {key}: a running build uses it")


#: How many machines of a cluster may be lost before a stage counts as failed.
MOST_LOST = 3


def _make_somewhere(work: Work, key: Key, watch: events.Watch) -> None:
    """Make an artifact; where the machine that worked on it is gone, in a new folder again.

    Raises:
        NodeLost: each machine that tried it is gone.
    """
    for lost in range(1, MOST_LOST + 1):
        try:
            _make(work, key, watch)
        except NodeLost as error:
            if lost == MOST_LOST:
                raise
            what = error.message.removeprefix(f"{work.title}: ")
            watch(events.Warned(work.title, f"{what}; it is made again"))
        else:
            return


def _make(work: Work, key: Key, watch: events.Watch) -> None:
    context, store = work.context, work.context.store
    needed_bytes = preflight.check_work(work)

    def waiting() -> None:
        text = f"waiting for {amount(needed_bytes)} of memory beside what is at work"
        watch(events.Waiting(work.title, text))

    with (
        context.memory.reserved(needed_bytes, cancelled=context.cancelled, waiting=waiting),
        store.staging(key) as staging_dir,
        _failing_in(work, staging_dir, watch),
    ):
        started = time.monotonic()
        watch(events.Started(work.title, work.stage.doing))
        inputs = _checked_inputs(work)
        job = _job(work, staging_dir / "output")
        job.output_dir.mkdir()
        done = _run(work, job, key, watch, needed_bytes)
        store.publish(
            key,
            job.output_dir,
            tools=dict(_packages(key.document)),
            facts={"made_for": work.target, **done["facts"]},
            peak_memory_bytes=done.get("peak_memory_bytes"),
            seconds=time.monotonic() - started,
            known_digests=_known_digests(work, job),
            confirm=partial(_confirm, work, inputs),
        )
    watch(events.Finished(work.title, store.manifest(key)))


@contextmanager
def _failing_in(work: Work, staging_dir: Path, watch: events.Watch) -> Iterator[None]:
    """Tell of a failure, and of one because the folder is gone or the disk refused in our words."""
    try:
        with disk_errors(work.context.store.root):
            yield
    except BaseException as error:
        watch(events.Failed(work.title))
        if isinstance(error, Exception) and not staging_dir.is_dir():
            place = f"{work.title}: {staging_dir}, in which it worked,"
            raise removed_meanwhile(place) from error
        raise


def _checked_inputs(work: Work) -> list[Manifest]:
    """Return the manifests of what the work reads, when that is what its key says.

    Stats tell, and digests where a stat changed.

    Raises:
        StageError: an input is not there, or a file of the user's is another by now.
        ArtifactCorrupt: an input is damaged.
    """
    plan, store, digests = work.plan, work.context.store, work.context.digests
    keys = _input_keys(work)
    for key in keys:
        try:
            store.check_content(key, digests.sha256)
        except NotBuilt as error:
            raise StageError(
                f"{work.title}: its input {key.stage} is not in the store",
                remedy=f"run 'ovrecipe build {plan.recipe.name}' to make it again",
            ) from error
        except ArtifactCorrupt as error:
            message = f"{work.title}: its input was damaged or changed: {error.message}"
            raise ArtifactCorrupt(message, remedy=error.remedy) from error
    if changed := plan.changed_fields(work.stage, work.variant):
        names = ", ".join(dict.fromkeys(_named(work, field) for field in changed))
        raise StageError(
            f"{work.title}: {names} changed while the build ran, so nothing is stored",
            remedy="build again, and leave it alone meanwhile",
        )
    return [store.manifest(key) for key in keys]


def _confirm(work: Work, inputs: list[Manifest]) -> None:
    """Refuse a result when what was read did not stay what it was, from before to after.

    Raises:
        StageError, ArtifactCorrupt: as `_checked_inputs`, or another build made an input again.
    """
    if _checked_inputs(work) != inputs:
        raise StageError(f"{work.title}: an input was made again meanwhile", remedy=AGAIN)


def _named(work: Work, field: str) -> str:
    """Return what the user calls a field of the key that comes from a file of theirs."""
    if field.startswith("pin."):
        file = re.sub(r"^pin\.(files\.)?|sha256$", "", field)
        return f"the checkpoint {work.plan.recipe.model.id}" + (f" ({file})" if file else "")
    if found := re.match(r"passes\[(\d+)\]\.dataset", field):
        passes = work.plan.recipe.variants[str(work.variant)].compression_passes()
        return f"the data set {passes[int(found[1])].dataset}"
    return field


def _input_keys(work: Work) -> list[Key]:
    return [needed.plan.pinned_key(needed.kind, needed.variant) for needed in work.needs()]


def _job(work: Work, output_dir: Path) -> Job:
    plan, store = work.plan, work.context.store
    companions = work.companions()
    own = {needed.kind: needed for needed in work.needs() if needed not in companions.values()}
    return Job(
        recipe=plan.recipe,
        variant=work.variant,
        inputs={
            called: store.artifact_dir(needed.plan.pinned_key(needed.kind, needed.variant))
            for called, needed in {**own, **companions}.items()
        },
        output_dir=output_dir,
        pin=dict(plan.pin),
        plugin_options=work.context.plugins.options,
        store_dir=store.root,
    )


def _run(
    work: Work, job: Job, key: Key, watch: events.Watch, memory_bytes: int
) -> Mapping[str, Any]:
    context, staging_dir = work.context, job.output_dir.parent
    if not work.stage.own_process:

        def progress(message: str, **counted: Any) -> None:
            watch(events.Progressed(work.title, message, **counted))

        own = StageContext(context.plugins, progress, context.project.env)
        return {"facts": work.stage.run(job, own)}
    try:
        return run_worker(work, job, watch, memory_bytes)
    except Exception:
        log_path = staging_dir / LOG_NAME
        if log_path.exists() and log_path.stat().st_size:
            watch(events.LogKept(work.title, context.store.keep_log(log_path, key)))
        raise
    finally:
        shutil.rmtree(staging_dir / "tmp", ignore_errors=True)


def _packages(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the versions in a key's document, for whoever reads the manifest."""
    if isinstance(value, Mapping):
        yield from (value.get("packages") or {}).items()
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _packages(inner)


def _known_digests(work: Work, job: Job) -> dict[str, tuple[int, str]]:
    """Return the digests of files that are links to published ones."""
    return {
        path: digest
        for input_dir in (job.inputs[name] for name in work.stage.links)
        for path, digest in read_manifest(input_dir).known_digests().items()
        if (job.output_dir / path).exists() and (job.output_dir / path).samefile(input_dir / path)
    }
