"""Running one stage: lock, stage, work, publish."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ovrecipe.build.admission import admit
from ovrecipe.build.job import Bench, Job
from ovrecipe.build.process import run_worker
from ovrecipe.errors import OvrecipeError, StageError
from ovrecipe.store.views import leads_to, remove_view, set_view

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.observer import Observer
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.build.stages.stage import Stage
    from ovrecipe.store.key import Key
    from ovrecipe.store.store import Store


@dataclass(frozen=True, repr=False)
class ViewWork:
    """One variant of one recipe, under its name."""

    context: BuildContext
    plan: RecipePlan
    variant: str

    @property
    def title(self) -> str:
        """How the work is called on screen."""
        return f"build {self.plan.recipe.name}:{self.variant}"

    def __repr__(self) -> str:
        """Return the title: doit prints it where a recipe and a project would fill the screen."""
        return f"<{self.title}>"

    def task_title(self, task: object) -> str:  # noqa: ARG002
        """Return the title, as doit asks for it."""
        return self.title

    @property
    def artifact_dir(self) -> Path | None:
        """The directory that the view shall lead to; None while the checkpoint is not pinned."""
        key = self.plan.key("assemble", self.variant)
        return None if key is None else self.context.store.artifact_dir(key)

    def is_built(self) -> bool:
        """Return whether the view leads to what the recipe asks for, and that passed its gates."""
        gate = self.plan.key("check", self.variant)
        if gate is None or not self.context.store.has(gate):
            return False
        view = self.context.project.models_dir / self.plan.recipe.name / self.variant
        return self.artifact_dir is not None and leads_to(view, self.artifact_dir)

    def is_up_to_date(self) -> bool:
        """Answer doit; what cannot be known is not up to date, and building it says why."""
        try:
            built = self.is_built()
        except OvrecipeError:
            built = False
        if not built:
            self.context.request(self.plan.recipe.name, self.variant)
        return built

    def do(self, observer: Observer) -> None:  # noqa: ARG002
        """Set the view."""
        gate = self.plan.key("check", self.variant)
        artifact_dir = self.artifact_dir
        if gate is None or artifact_dir is None or not self.context.store.has(gate):
            raise StageError(f"{self.title}: its gate was not passed, so it gets no name")
        models_dir = self.context.project.models_dir
        set_view(models_dir, self.plan.recipe.name, self.variant, artifact_dir)

    def clean(self) -> None:
        """Remove the view; the artifact stays in the store until `ovrecipe gc`."""
        if remove_view(self.context.project.models_dir, self.plan.recipe.name, self.variant):
            print(f"removed models/{self.plan.recipe.name}/{self.variant}")


LOG_NAME = "log.txt"


@dataclass(frozen=True, repr=False)
class Work:
    """One stage of one recipe, to be done or found done."""

    context: BuildContext
    plan: RecipePlan
    stage: Stage
    variant: str | None

    @property
    def title(self) -> str:
        """How the work is called on screen: `weights smollm2-135m:int4`."""
        target = self.plan.recipe.name + (f":{self.variant}" if self.variant else "")
        return f"{self.stage.name} {target}"

    def __repr__(self) -> str:
        """Return the title: doit prints it where a recipe and a project would fill the screen."""
        return f"<{self.title}>"

    def task_title(self, task: object) -> str:  # noqa: ARG002
        """Return the title, as doit asks for it."""
        return self.title

    def key(self) -> Key | None:
        """Return the wanted key; None while the checkpoint is not pinned."""
        return self.plan.key(self.stage.name, self.variant)

    def is_done(self) -> bool:
        """Return whether the wanted artifact is published and usable; a few stats."""
        key = self.key()
        return key is not None and _is_usable(self.context.store, key)

    def is_up_to_date(self) -> bool:
        """Answer doit; what cannot be known is not up to date, and building it says why."""
        try:
            return self.is_done()
        except OvrecipeError:
            return False

    def do(self, observer: Observer) -> None:
        """Make the artifact unless it is there; wait while another build is making it.

        Raises:
            OvrecipeError: the stage failed; nothing was published and its log is kept.
        """
        self.context.judge(self.plan)
        self.plan.resolve()
        key = self.key()
        assert key is not None, "resolve() pins the source"
        store = self.context.store
        waiting = partial(observer.waiting, self.title)
        with self.context.at_work(), store.lock(key, waiting=waiting):
            if self.is_done():
                return
            if store.has(key):
                store.remove(key)
            _make(self, key, observer)
        self._tell_plugins(key, observer)

    def _tell_plugins(self, key: Key, observer: Observer) -> None:
        """Call the observers among the plugins; the lock is free for whoever waits."""
        store = self.context.store
        arguments = {
            "stage": self.stage.name,
            "recipe": self.plan.recipe,
            "variant": self.variant,
            "artifact_dir": store.artifact_dir(key),
            "manifest": asdict(store.manifest(key)),
        }
        self.context.plugins.tell(
            "after_stage", arguments, report=lambda text: observer.warned(self.title, text)
        )

    def clean(self) -> None:
        """Remove the artifact, if it is there and no running build makes or reads it."""
        from ovrecipe.store.gc import remove_unless_used

        store, key = self.context.store, self.key()
        if key is None or not store.has(key):
            return
        removed = remove_unless_used(store, key.stage, key.sha256)
        print(f"removed {key}" if removed else f"kept {key}: a running build uses it")


def _is_usable(store: Store, key: Key) -> bool:
    """A published artifact is whole; only what it links to may have gone away."""
    if not store.has(key):
        return False
    return key.stage != "source" or all(
        path.exists() for path in store.artifact_dir(key).rglob("*") if path.is_symlink()
    )


def _make(work: Work, key: Key, observer: Observer) -> None:
    store = work.context.store
    memory_bytes = admit(work)
    with (
        work.context.turns.taken(memory_bytes, work.context.cancelled),
        store.staging(key) as staging_dir,
    ):
        started = time.monotonic()
        observer.started(work.title, work.stage.doing)
        output_dir = staging_dir / "output"
        output_dir.mkdir()
        job = _job(work, output_dir)
        done = _run(work, job, key, observer)
        store.publish(
            key,
            output_dir,
            tools=_tools(key),
            facts=done.get("facts", {}),
            peak_memory_bytes=done.get("peak_memory_bytes"),
            seconds=time.monotonic() - started,
            known_digests=_known_digests(work, job),
        )
    observer.finished(work.title, store.manifest(key))


def _job(work: Work, output_dir: Path) -> Job:
    plan, store = work.plan, work.context.store
    inputs: dict[str, Path] = {}
    for name in work.stage.inputs(plan.recipe, work.variant):
        key = plan.key(name, work.variant)
        assert key is not None
        if not store.has(key):
            raise StageError(
                f"{work.title}: its input {name} is not in the store",
                remedy=f"run 'ovrecipe build {plan.recipe.name}' to make it again",
            )
        inputs[name] = store.artifact_dir(key)
    return Job(
        stage=work.stage.name,
        recipe=plan.recipe,
        variant=work.variant,
        inputs=inputs,
        output_dir=output_dir,
        pin=plan.pin,
        plugin_options=work.context.plugins.options,
        digests_path=work.context.digests_path,
    )


def _run(work: Work, job: Job, key: Key, observer: Observer) -> Mapping[str, Any]:
    env = work.context.project.env
    if not work.stage.own_process:
        bench = Bench(plugins=work.context.plugins, progress=observer.progress(work.title), env=env)
        return {"facts": work.stage.run(job, bench)}
    staging_dir = job.output_dir.parent
    try:
        return run_worker(
            job, staging_dir, work.title, observer, env=env, cancelled=work.context.cancelled
        )
    except BaseException:
        log_path = staging_dir / LOG_NAME
        if log_path.exists() and log_path.stat().st_size:
            observer.log_kept(work.title, work.context.store.keep_log(log_path, key))
        raise
    finally:
        shutil.rmtree(staging_dir / "tmp", ignore_errors=True)


def _tools(key: Key) -> dict[str, str]:
    """Return the versions in the key, flat, for whoever reads the manifest."""
    found: dict[str, str] = {}
    _collect_packages(key.document, found)
    return found


def _collect_packages(value: Any, found: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        found.update(value.get("packages") or {})
        for each in value.values():
            _collect_packages(each, found)
    elif isinstance(value, list | tuple):
        for each in value:
            _collect_packages(each, found)


def _known_digests(work: Work, job: Job) -> dict[str, tuple[int, str]]:
    """Return the digests of files that are links to published ones."""
    if work.stage.name != "assemble":
        return {}
    known: dict[str, tuple[int, str]] = {}
    for name in ("tokenizer", "weights"):
        key = work.plan.key(name, work.variant)
        assert key is not None
        for path, each in work.context.store.manifest(key).files.items():
            output = job.output_dir / path
            if output.exists() and output.samefile(job.inputs[name] / path):
                known[path] = (each.size_bytes, each.sha256)
    return known
