"""The store: a folder of finished artifacts, each under the sha256 of its key.

store/<stage>/<sha256>/     an artifact: read-only, its manifest.json written last
store/.stage-*              a stage at work; removed when it fails
store/.locks/               locks of those who make an artifact, and of those who use one
store/.cache/<sha256>/      what OpenVINO compiled from an artifact, or a compressor learned of it
store/.configs/             config.json of each checkpoint that was here, which keys depend on
store/.roots, .digests.json the folders with views, and digests of files that were read
store/.download-<sha256>    a file on its way from a store elsewhere; gone on with after a kill
store/logs/                 the logs of stages that failed and were not built since
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path

from ovrecipe.errors import ArtifactCorrupt, NotBuilt, StoreError, StoreRemoved
from ovrecipe.store import locks
from ovrecipe.store.disk import (
    disk_errors,
    entries,
    random_name,
    remove_moved,
    removed_meanwhile,
)
from ovrecipe.store.key import STAGE_NAME, Key, differences
from ovrecipe.store.manifest import (
    MANIFEST,
    SHA256,
    Manifest,
    check_folder,
    read_manifest,
    stat_problem,
)
from ovrecipe.store.publish import move_into_place, seal_files, staging_folder, write_manifest
from ovrecipe.types import Json

CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Backup programs skip this folder: ovrecipe makes everything in it again from the recipes.
"""
DOWNLOAD_PREFIX = ".download-"
utc_now = partial(datetime.now, UTC)


@dataclass(frozen=True)
class Store:
    """The artifacts below `root`. Looking is cheap and needs no lock; building needs `lock`."""

    root: Path
    #: Gives the time that manifests are stamped with.
    clock: Callable[[], datetime] = utc_now

    @property
    def digests_path(self) -> Path:
        """The file behind `RememberedDigests`."""
        return self.root / ".digests.json"

    @property
    def logs_dir(self) -> Path:
        """The folder of the logs of failed stages."""
        return self.root / "logs"

    @property
    def locks_dir(self) -> Path:
        """The folder of lock files."""
        return self.root / locks.LOCKS

    def cache_dir(self, sha256: str) -> Path:
        """Return where what is derived from an artifact may be kept; `gc` knows it."""
        return self.root / ".cache" / sha256

    def config_path(self, key: Key) -> Path:
        """Return where a checkpoint's config.json is kept when the checkpoint itself goes."""
        return self.root / ".configs" / f"{key.sha256}.json"

    def download_path(self, sha256: str) -> Path:
        """Return where a file of that content is while it comes from a store elsewhere."""
        return self.root / f"{DOWNLOAD_PREFIX}{sha256}"

    def log_path(self, key: Key) -> Path:
        """Return where the log of a stage that failed is kept until the stage succeeds."""
        return self.logs_dir / f"{key.stage}-{key.short}.log"

    def prepare(self) -> None:
        """Make the store's folder, and prove by writing that it can be written.

        Raises:
            StoreNotWritable, DiskFull: it cannot.
            StoreRemoved: somebody removed it meanwhile.
        """
        probe = self.root / f".probe-{random_name()}"
        with disk_errors(self.root, any_refusal=True):
            self.locks_dir.mkdir(parents=True, exist_ok=True)
            with disk_errors(self.root):
                for name, text in ((".gitignore", "*\n"), ("CACHEDIR.TAG", CACHEDIR_TAG)):
                    if not (self.root / name).exists():
                        (self.root / name).write_text(text, encoding="utf-8")
                probe.touch()
                probe.unlink(missing_ok=True)

    def has(self, key: Key) -> bool:
        """Tell whether the artifact is there and, as far as stats tell, whole.

        Raises:
            ArtifactTooNew: a newer ovrecipe made it.
        """
        return self.artifact_dir(key).exists() and self.damage(key) is None

    def damage(self, key: Key) -> str | None:
        """Return what stats tell is wrong with an artifact; None when it is whole, or not there.

        Raises:
            ArtifactTooNew: a newer ovrecipe made it.
        """
        folder = self.artifact_dir(key)
        try:
            return stat_problem(folder, read_manifest(folder))
        except NotBuilt:
            return f"{MANIFEST} is missing" if folder.exists() else None
        except ArtifactCorrupt as error:
            return error.message.removeprefix(f"{folder}/")

    def check_content(self, key: Key, sha256: Callable[[Path], str]) -> None:
        """Refuse an artifact that is not what it was; `sha256` is asked where stats changed.

        Raises:
            NotBuilt: there is no such artifact.
            ArtifactTooNew: a newer ovrecipe made it.
            ArtifactCorrupt: its manifest is damaged, or a file is missing or another.
        """
        check_folder(self.artifact_dir(key), sha256)

    def artifact_dir(self, key: Key) -> Path:
        """Return the folder of an artifact, built or not."""
        return self.root / key.stage / key.sha256

    def manifest(self, key: Key) -> Manifest:
        """Return what the artifact says about itself.

        Raises:
            NotBuilt: there is no such artifact.
            ArtifactCorrupt: its manifest is damaged.
        """
        return read_manifest(self.artifact_dir(key))

    def artifacts(
        self, damaged: Callable[[ArtifactCorrupt], None] | None = None
    ) -> Iterator[tuple[str, str, Manifest]]:
        """Yield (stage, sha256, manifest) of every published artifact, in a fixed order.

        `damaged` is called for each that cannot be read, and it is left out.

        Raises:
            ArtifactTooNew: a newer ovrecipe made one, so what it needs is unknown.
            ArtifactCorrupt: a manifest is damaged, and there is no `damaged`.
        """
        for stage, sha256, folder in self.folders():
            try:
                yield stage, sha256, read_manifest(folder)
            except NotBuilt:
                continue  # not published, or removed by somebody since it was listed
            except ArtifactCorrupt as error:
                if damaged is None:
                    raise
                damaged(error)

    def nearest(
        self,
        key: Key,
        damaged: Callable[[ArtifactCorrupt], None],
        *,
        among: Collection[str] | None = None,
    ) -> Manifest | None:
        """Return the artifact of the key's stage with the fewest differing fields, or the newest.

        None when the stage never made anything, or nothing of `among` (sha256). `damaged` is
        called for each artifact, of any stage, that cannot be read.
        """
        found = [
            manifest
            for stage, sha256, manifest in self.artifacts(damaged)
            if stage == key.stage and (among is None or sha256 in among)
        ]
        found.sort(key=attrgetter("created"), reverse=True)
        return min(found, key=lambda made: len(differences(key.document, made.key)), default=None)

    def folders(self) -> Iterator[tuple[str, str, Path]]:
        """Yield (stage, sha256, folder) of everything in an artifact's place, damaged ones too."""
        for stage_dir in entries(self.root):
            if STAGE_NAME.fullmatch(stage_dir.name):
                for folder in entries(stage_dir):
                    if SHA256.fullmatch(folder.name):
                        yield stage_dir.name, folder.name, folder

    def lock_path(self, stage: str, sha256: str) -> Path:
        """Return the lock of whoever makes the artifact of a key."""
        return self.locks_dir / f"{stage}-{sha256}.lock"

    def use_path(self, sha256: str) -> Path:
        """Return the lock that is shared by all who use an artifact."""
        return self.locks_dir / f"{sha256}.use"

    @contextmanager
    def lock(self, key: Key, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the key's lock, so that of several builds one works and the others share it.

        Look again with `has` inside: whoever had the lock has probably made the artifact. The
        inputs of the key are in use meanwhile, so that `gc` leaves them alone.
        `waiting` is called once, with a sentence to show, when another build has the lock.
        """
        path = self.lock_path(key.stage, key.sha256)

        def announce() -> None:
            pid = locks.noted_process(path)
            who = "another build" if pid is None else f"another build (process {pid})"
            who = "this build" if pid == os.getpid() else who
            if waiting is not None:
                waiting(f"{who} is making {key}; waiting for it")

        self.prepare()
        with (
            self._there_or_removed(path),
            locks.held(path, waiting=announce),
            ExitStack() as uses,
        ):
            with disk_errors(self.root):
                locks.note_process(path)
                for sha256 in sorted({key.sha256, *key.inputs}):
                    uses.enter_context(locks.used(self.use_path(sha256)))
            yield

    @contextmanager
    def _there_or_removed(self, lock_path: Path) -> Iterator[None]:
        """Say that the store was removed where that is why something failed, whatever it said.

        Files, locks and stages fail in ways of their own then, and a part of the store may be
        there again; but not our lock, or not with our note.
        """
        try:
            yield
        except (StoreRemoved, PermissionError):
            raise
        except Exception as error:
            pid = locks.noted_process(lock_path)
            if lock_path.exists() and pid in (None, os.getpid()):
                raise
            raise removed_meanwhile(self.root) from error

    def staging(self, key: Key) -> AbstractContextManager[Path]:
        """Give an empty folder on the store's disk to build in; what is left of it is removed.

        Leftovers of killed builds of the same key are removed first.
        """
        self.prepare()
        return staging_folder(self.root, key)

    def publish(
        self,
        key: Key,
        staging_dir: Path,
        *,
        tools: Mapping[str, str | None] | None = None,
        facts: Mapping[str, Json] | None = None,
        peak_memory_bytes: int | None = None,
        seconds: float | None = None,
        known_digests: Mapping[str, tuple[int, str]] | None = None,
        confirm: Callable[[], None] = lambda: None,
    ) -> Path:
        """Seal a staging folder and move it into place with one rename; return where it is.

        `known_digests` (by relative path: size and sha256) spares hashing files that are linked
        from other artifacts. When the artifact is there already, that one is kept. `confirm` is
        called when every file was read for the last time; what it raises publishes nothing.

        Raises:
            StoreError: the folder has something that cannot be published.
            DiskFull, StoreNotWritable: the disk refused; nothing was published.
        """
        if self.has(key):
            return self.artifact_dir(key)
        manifest = Manifest(
            stage=key.stage,
            sha256=key.sha256,
            key=key.document,
            files=seal_files(staging_dir, known_digests or {}),
            created=self.clock().isoformat(timespec="seconds"),
            tools=dict(tools or {}),
            facts=dict(facts or {}),
            peak_memory_bytes=peak_memory_bytes,
            seconds=seconds,
        )
        confirm()
        write_manifest(staging_dir, manifest)
        # A folder without a manifest is no artifact: someone deleted part of one.
        self.remove(key)
        move_into_place(self.root, staging_dir, self.artifact_dir(key))
        self.log_path(key).unlink(missing_ok=True)
        return self.artifact_dir(key)

    def keep_log(self, log_path: Path, key: Key) -> Path:
        """Move the log of a failed stage out of its staging folder; the newest one is kept.

        Raises:
            StoreError: there is no such log.
        """
        if not log_path.is_file():
            raise StoreError(f"{log_path}: the stage left no log")
        with disk_errors(self.root):
            self.logs_dir.mkdir(exist_ok=True)
            return log_path.replace(self.log_path(key))

    def remove(self, key: Key) -> None:
        """Remove an artifact; it vanishes with one rename, so nothing half-removed is ever seen.

        What was learned of it goes first: it may have been damaged then.
        """
        self._remove(key.stage, key.sha256)

    def _remove(self, stage: str, sha256: str) -> None:
        remove_moved(self.cache_dir(sha256), self.root)
        remove_moved(self.root / stage / sha256, self.root)

    def discard_if_unused(
        self, stage: str, sha256: str, *, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Remove an artifact that nobody makes or uses; say whether it was removed.

        `unless` is asked when nobody can begin to use it any more.
        """
        self.prepare()
        lock_path, use_path = self.lock_path(stage, sha256), self.use_path(sha256)
        with (
            disk_errors(self.root),
            locks.held_if_free(lock_path) as free,
            locks.alone_if_unused(use_path) as unused,
        ):
            if not (free and unused) or unless():
                return False
            self._remove(stage, sha256)
            lock_path.with_suffix(".pid").unlink(missing_ok=True)
            locks.unlink_held(lock_path)
            return True
