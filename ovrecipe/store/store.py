"""The store: a folder of finished artifacts, each under the sha256 of its key.

store/<stage>/<sha256>/     an artifact: read-only, its manifest.json written last
store/.stage-*              a stage at work; removed when it fails
store/.locks/               locks of those who make an artifact, and of those who use one
store/.cache/<sha256>/      what OpenVINO compiled from an artifact, or a compressor learned of it
store/.roots, .digests.json the folders with views, and digests of files that were read
store/logs/                 the logs of stages that failed and were not built since
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ovrecipe.errors import ArtifactCorrupt, NotBuilt, StoreError
from ovrecipe.store.key import STAGE_NAME, Key
from ovrecipe.store.locks import LOCKS
from ovrecipe.store.manifest import MANIFEST, SHA256, Manifest, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ovrecipe.types import Json

CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# Backup programs skip this folder: ovrecipe makes everything in it again from the recipes.
"""


def utc_now() -> datetime:
    """Return the time that manifests are stamped with."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Store:
    """The artifacts below `root`. Looking is cheap and needs no lock; building needs `lock`."""

    root: Path
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
        return self.root / LOCKS

    def cache_dir(self, sha256: str) -> Path:
        """Return where what is derived from an artifact may be kept; `gc` knows it."""
        return self.root / ".cache" / sha256

    def log_path(self, key: Key) -> Path:
        """Return where the log of a stage that failed is kept until the stage succeeds."""
        return self.logs_dir / f"{key.stage}-{key.short}.log"

    def ensure(self) -> None:
        """Make the store's folder, and prove by writing that it can be written.

        Raises:
            StoreNotWritable: it cannot.
            DiskFull: there is no room for even this.
        """
        from ovrecipe.store.disk import disk_errors, not_writable, random_name

        probe = self.root / f".probe-{random_name()}"
        try:
            with disk_errors(self.root):
                self.locks_dir.mkdir(parents=True, exist_ok=True)
                _write_once(self.root / ".gitignore", "*\n")
                _write_once(self.root / "CACHEDIR.TAG", CACHEDIR_TAG)
                probe.touch()
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise not_writable(self.root, error) from error

    def has(self, key: Key) -> bool:
        """Tell whether the artifact is there: one stat, for a manifest means all is whole."""
        return (self.artifact_dir(key) / MANIFEST).exists()

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

    def size_bytes(self, key: Key) -> int:
        """Return the size of the artifact's own files, as its manifest has it."""
        return self.manifest(key).size_bytes

    def artifacts(
        self, damaged: Callable[[ArtifactCorrupt], None] | None = None
    ) -> Iterator[tuple[str, str, Manifest]]:
        """Yield (stage, sha256, manifest) of every published artifact, in a fixed order.

        `damaged` is called for each that cannot be read, and it is left out.

        Raises:
            ArtifactCorrupt: a manifest is damaged, and there is no `damaged`.
        """
        for stage, sha256, folder in self.folders():
            try:
                manifest = read_manifest(folder)
            except NotBuilt:
                continue  # not published, or removed by somebody since it was listed
            except ArtifactCorrupt as error:
                if damaged is None:
                    raise
                damaged(error)
                continue
            yield stage, sha256, manifest

    def folders(self) -> Iterator[tuple[str, str, Path]]:
        """Yield (stage, sha256, folder) of everything in an artifact's place, damaged ones too."""
        if not self.root.is_dir():
            return
        for stage_dir in sorted(self.root.iterdir()):
            if STAGE_NAME.fullmatch(stage_dir.name) and stage_dir.is_dir():
                for folder in sorted(stage_dir.iterdir()):
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
        from ovrecipe.store.disk import disk_errors
        from ovrecipe.store.locks import held, note_process, used

        self.ensure()
        path = self.lock_path(key.stage, key.sha256)
        with held(path, waiting=_announcement(key, path, waiting)), ExitStack() as uses:
            with disk_errors(self.root):
                note_process(path)
                for sha256 in sorted({key.sha256, *key.inputs}):
                    uses.enter_context(used(self.use_path(sha256)))
            yield

    @contextmanager
    def staging(self, key: Key) -> Iterator[Path]:
        """Give an empty folder on the store's disk to build in; what is left of it is removed.

        Leftovers of builds of the same key that were killed are removed first.
        """
        from ovrecipe.store.publish import staging_folder

        self.ensure()
        with staging_folder(self, key) as folder:
            yield folder

    def publish(
        self,
        key: Key,
        staging_dir: Path,
        *,
        tools: Mapping[str, str] | None = None,
        facts: Mapping[str, Json] | None = None,
        peak_memory_bytes: int | None = None,
        seconds: float | None = None,
        known_digests: Mapping[str, tuple[int, str]] | None = None,
    ) -> Path:
        """Seal a staging folder and move it into place with one rename; return where it is.

        `known_digests` (by relative path: size and sha256) spares hashing files that are linked
        from other artifacts. When the artifact is there already, that one is kept.

        Raises:
            StoreError: the folder has something that cannot be published.
            DiskFull, StoreNotWritable: the disk refused; nothing was published.
        """
        from ovrecipe.store.publish import move_into_place, seal_files, write_manifest

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
        write_manifest(staging_dir, manifest)
        # A folder without a manifest is no artifact: someone deleted part of one.
        self.discard(key.stage, key.sha256)
        move_into_place(staging_dir, self.artifact_dir(key))
        self.log_path(key).unlink(missing_ok=True)
        return self.artifact_dir(key)

    def keep_log(self, log_path: Path, key: Key) -> Path:
        """Move the log of a failed stage out of its staging folder; the newest one is kept.

        Raises:
            StoreError: there is no such log.
        """
        from ovrecipe.store.disk import disk_errors

        kept = self.log_path(key)
        if not log_path.is_file():
            raise StoreError(f"{log_path}: the stage left no log")
        with disk_errors(self.root):
            self.logs_dir.mkdir(exist_ok=True)
            log_path.replace(kept)
        return kept

    def remove(self, key: Key) -> None:
        """Remove an artifact; it vanishes with one rename, so nothing half-removed is ever seen."""
        self.discard(key.stage, key.sha256)

    def discard(self, stage: str, sha256: str) -> None:
        """Remove the artifact of that stage and sha256, if it is there."""
        from ovrecipe.store.disk import disk_errors, remove_moved

        with disk_errors(self.root):
            remove_moved(self.root / stage / sha256, self.root)

    def discard_if_unused(
        self, stage: str, sha256: str, *, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        """Remove an artifact that nobody makes or uses; say whether it was removed.

        `unless` is asked when nobody can begin to use it any more.
        """
        from ovrecipe.store.locks import alone_if_unused, held_if_free, unlink_held

        self.ensure()
        lock_path = self.lock_path(stage, sha256)
        with held_if_free(lock_path) as free, alone_if_unused(self.use_path(sha256)) as unused:
            if not (free and unused) or unless():
                return False
            self.discard(stage, sha256)
            lock_path.with_suffix(".pid").unlink(missing_ok=True)
            unlink_held(lock_path)
            return True


def _announcement(
    key: Key, path: Path, waiting: Callable[[str], None] | None
) -> Callable[[], None] | None:
    if waiting is None:
        return None

    def announce() -> None:
        from ovrecipe.store.locks import noted_process

        pid = noted_process(path)
        who = "another build" if pid in (None, os.getpid()) else f"another build (process {pid})"
        waiting(f"{who} is making {key}; waiting for it")

    return announce


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text, encoding="utf-8")
