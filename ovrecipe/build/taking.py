"""Taking a stage's artifact from a store elsewhere instead of making it, and giving it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.build import events
from ovrecipe.errors import RemoteUnreachable

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.build.remote import Remote


@dataclass(frozen=True)
class Taking:
    """One stage of one recipe, to be had from the project's remote."""

    work: Work

    @property
    def title(self) -> str:
        """How it is called where doit shows it."""
        return f"take {self.work.title}"

    def do(self, watch: events.Watch) -> None:
        """Take the artifact if it is there; a remote that does not answer is told of once.

        Raises:
            ArtifactCorrupt: it is damaged there.
            OvrecipeError: the recipe cannot be used, or our disk refused.
        """
        remote = self.work.context.remote
        if remote is None or remote.is_lost.is_set():
            return
        try:
            take(self.work, remote, watch)
        except RemoteUnreachable as error:
            if not remote.is_lost.is_set():
                remote.is_lost.set()
                text = f"{error.message}; what is missing is built here"
                watch(events.Warned(self.work.title, text))


def take(work: Work, remote: Remote, watch: events.Watch) -> bool:
    """Take a stage's artifact unless it is here; say whether it is here now.

    Raises:
        RemoteUnreachable: nobody answered.
        ArtifactCorrupt: it is damaged there.
    """
    plan, context = work.plan, work.context
    plan.judge()
    plan.resolve()
    _learn_configs(work, remote)
    if work.is_done():
        return True
    key, store = plan.pinned_key(work.stage.name, work.variant), context.store
    manifest = remote.manifest(key)
    if manifest is None:
        return False

    def waiting(text: str) -> None:
        watch(events.Waiting(work.title, text))

    def progress(message: str, **counted: Any) -> None:
        watch(events.Progressed(work.title, message, **counted))

    with store.lock(key, waiting=waiting), context.at_work():
        if work.is_done():
            return True
        watch(events.Started(work.title, f"taking it from {remote}"))
        try:
            store.remove(key)  # what is left of a damaged one
            remote.pull(store, key, manifest, progress=progress)
        except BaseException:
            watch(events.Failed(work.title))
            raise
    watch(events.Taken(work.title, manifest, str(remote)))
    return True


def give(work: Work, remote: Remote, watch: events.Watch) -> int | None:
    """Send a stage's artifact, and return how many bytes were sent; None when it was there.

    Raises:
        RemoteUnreachable: nobody answered.
        ArtifactCorrupt: it is damaged here.
    """
    store, key = work.context.store, work.plan.pinned_key(work.stage.name, work.variant)
    store.check_content(key, work.context.digests.sha256)
    for plan in _plans(work):
        if plan.reads_config() and (config := plan.checkpoint_config()):
            remote.push_config(plan.source_key, config)

    def progress(message: str, **counted: Any) -> None:
        watch(events.Progressed(work.title, message, **counted))

    if remote.manifest(key) is not None and remote.has_files(store.manifest(key)):
        return None
    watch(events.Started(work.title, f"sending it to {remote}"))
    try:
        return remote.push(store, key, progress=progress)
    finally:
        watch(events.Ended(work.title))


def _plans(work: Work) -> list[RecipePlan]:
    """Return the recipes whose checkpoints the key of a stage depends on."""
    return [work.plan, *(other.plan for other in work.companions().values())]


def _learn_configs(work: Work, remote: Remote) -> None:
    """Take the config.json of checkpoints that are not here, for the keys behind them.

    Raises:
        RemoteUnreachable: nobody answered.
        ArtifactCorrupt: one is damaged there.
    """
    for plan in _plans(work):
        plan.resolve()
        if plan.lacks_config() and (config := remote.config(plan.source_key)) is not None:
            plan.learn_config(config)
