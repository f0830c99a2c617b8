"""A store elsewhere, reached over fsspec: a folder, a bucket, whatever it knows.

URL/artifacts/<stage>/<sha256>.json    an artifact's manifest, under the sha256 of its key
URL/files/<sha256>                     the bytes of a file, under their own sha256
URL/configs/<sha256>.json              config.json of a checkpoint, under the sha256 of its key;
                                       keys behind it depend on the toolchain that it asks for

A manifest is written after all of its files, so what is listed is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import Any

from ovrecipe.errors import (
    ArtifactCorrupt,
    NotBuilt,
    OvrecipeError,
    RemoteUnreachable,
    StoreError,
    is_disk_full,
)
from ovrecipe.hooks.roles import silent
from ovrecipe.store import locks
from ovrecipe.store.disk import disk_errors, fsync, link_file, random_name
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import FileEntry, Manifest, parse_manifest
from ovrecipe.store.store import Store
from ovrecipe.types import Progress
from ovrecipe.wording import one_line

CHUNK_BYTES = 8_000_000
#: Where a file appears when all of it was sent; elsewhere it is sent under another name first.
WHOLE_AT_ONCE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "hf"}
DAMAGED = "remove it there, and push again from where it was built"
#: What S3, Google's and Azure's answer where not even the bucket is there.
NO_BUCKET = re.compile(r"NoSuchBucket|(bucket|container) does not exist", re.IGNORECASE)


@dataclass(frozen=True)
class Remote:
    """The artifacts below a URL: `file:///srv/ovrecipe`, `s3://bucket/ovrecipe`."""

    url: str
    #: Set when it could not be reached, so that a build does not wait for it at each stage.
    is_lost: Event = field(default_factory=Event, compare=False, repr=False)

    def __str__(self) -> str:
        """Return the URL without what may be a password in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            message = f"{self}: stores elsewhere need fsspec"
            raise StoreError(
                message, remedy="pip install fsspec, which ovrecipe[build] has"
            ) from error
        try:
            files, root = url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            # fsspec's own words name the package that is missing.
            raise StoreError(f"{self}: {error}", remedy="'file:///...' needs no package") from error
        return files, str(root).rstrip("/")

    @property
    def _files(self) -> Any:
        return self._place[0]

    def _path(self, *parts: str) -> str:
        return "/".join([self._place[1], *parts])

    def _manifest_path(self, stage: str, sha256: str) -> str:
        return self._path("artifacts", stage, f"{sha256}.json")

    def _file_path(self, sha256: str) -> str:
        return self._path("files", sha256)

    def _config_path(self, source: Key) -> str:
        return self._path("configs", f"{source.sha256}.json")

    @contextmanager
    def _reached(self, *, looking: bool = False) -> Iterator[None]:
        """Turn what any kind of file system raises into one error.

        Of a file that is looked for, FileNotFoundError passes: it is an answer.

        Raises:
            RemoteUnreachable: it did not answer, refused, or has no such bucket.
        """
        files = self._files
        try:
            yield
        except OvrecipeError:
            raise
        except Exception as error:
            lacks_bucket = bool(NO_BUCKET.search(f"{error} {error.__cause__}"))
            if looking and isinstance(error, FileNotFoundError) and not lacks_bucket:
                raise
            what = "has no room" if is_disk_full(error) else "cannot be used"
            remedy = "check the network and your access"
            if lacks_bucket:
                remedy = "make the bucket, or correct the URL"
            elif isinstance(error, PermissionError):
                remedy = (
                    "check your keys: they must allow to list and to read, and for push to write"
                )
            raise RemoteUnreachable(
                f"{self} {what}: {one_line(error)}", remedy=f"{remedy} ({type(files).__name__})"
            ) from error

    def manifest(self, key: Key) -> Manifest | None:
        """Return the manifest of a key's artifact; None when it is not there.

        Raises:
            RemoteUnreachable: nobody answered.
            ArtifactCorrupt: it is another artifact's, or no manifest.
            ArtifactTooNew: a newer ovrecipe made it.
        """
        path = self._manifest_path(key.stage, key.sha256)
        try:
            with self._reached(looking=True):
                text = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        shown = f"{self}/artifacts/{key.stage}/{key.sha256}.json"
        found = parse_manifest(text, shown, remedy=DAMAGED)
        if (found.stage, found.sha256) != (key.stage, key.sha256) or (
            Key(found.stage, found.key).sha256 != key.sha256
        ):
            raise ArtifactCorrupt(f"{shown}: is the manifest of another artifact", remedy=DAMAGED)
        return found

    def config(self, source: Key) -> dict[str, Any] | None:
        """Return the config.json of a checkpoint; None when it is not there.

        Raises:
            RemoteUnreachable: nobody answered.
            ArtifactCorrupt: it is none.
        """
        try:
            with self._reached(looking=True):
                text = self._files.cat_file(self._config_path(source))
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            shown = f"{self}/configs/{source.sha256}.json"
            raise ArtifactCorrupt(f"{shown}: is no config.json", remedy=DAMAGED)
        return found

    def push_config(self, source: Key, config: Mapping[str, Any]) -> None:
        """Send the config.json of a checkpoint, unless it is there.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        path = self._config_path(source)
        with self._reached():
            if not self._files.exists(path):
                self._write(path, json.dumps(config, sort_keys=True).encode())

    def push(self, store: Store, key: Key, *, progress: Progress = silent) -> int:
        """Send an artifact that is not there yet, and return how many bytes were sent.

        The caller has checked its content.

        Raises:
            NotBuilt: it is not in the store.
            RemoteUnreachable: nobody answered; what was sent is not sent again.
        """
        with locks.used(store.use_path(key.sha256)):
            manifest, folder = store.manifest(key), store.artifact_dir(key)
            sent = 0
            for name, entry in manifest.files.items():
                with self._reached():
                    if self._has_file(entry):
                        continue
                    progress(f"sending {name}", done=sent, total=manifest.size_bytes, unit="B")
                    self._put(folder / name, self._file_path(entry.sha256))
                    sent += entry.size_bytes
            text = json.dumps(manifest.as_json(), indent=2, sort_keys=True) + "\n"
            with self._reached():
                self._write(self._manifest_path(key.stage, key.sha256), text.encode())
            return sent

    def has_files(self, manifest: Manifest) -> bool:
        """Return whether all files of an artifact are there, each of its size.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        with self._reached():
            return all(self._has_file(entry) for entry in manifest.files.values())

    def _has_file(self, entry: FileEntry) -> bool:
        try:
            found = self._files.info(self._file_path(entry.sha256))
        except FileNotFoundError:
            return False
        return bool(found["size"] == entry.size_bytes)

    def _put(self, source: Path, target: str) -> None:
        self._placed(target, lambda path: self._files.put_file(str(source), path))

    def _write(self, target: str, data: bytes) -> None:
        self._placed(target, lambda path: self._files.pipe_file(path, data))

    def _placed(self, target: str, send: Callable[[str], object]) -> None:
        """Send something so that it is under its name only when it is whole."""
        protocols = self._files.protocol
        if WHOLE_AT_ONCE.intersection([protocols] if isinstance(protocols, str) else protocols):
            send(target)
            return
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        temporary = f"{target}.{random_name()}"
        try:
            send(temporary)
            self._files.mv(temporary, target)
        finally:
            if self._files.exists(temporary):
                self._files.rm_file(temporary)

    def pull(
        self, store: Store, key: Key, manifest: Manifest, *, progress: Progress = silent
    ) -> None:
        """Take an artifact into the store; the caller holds the key's lock.

        A file that the store has already is linked, one that came half is gone on with. Nothing
        is published before every file has the digest that its name says.

        Raises:
            RemoteUnreachable: nobody answered; what came is kept for the next time.
            ArtifactCorrupt: a file is damaged there.
            DiskFull, StoreNotWritable: our disk refused.
        """
        own = _own_files(store)
        arriving = _Arriving(self, store, manifest, progress)
        with store.staging(key) as staging_dir, disk_errors(store.root):
            output_dir = staging_dir / "output"
            output_dir.mkdir()
            for name, entry in manifest.files.items():
                target = output_dir / name
                target.parent.mkdir(parents=True, exist_ok=True)
                if not _linked(own.get(entry.sha256), entry, target):
                    arriving.fetch(name, entry, target)
                arriving.done += entry.size_bytes
            store.publish(
                key,
                output_dir,
                tools=manifest.tools,
                facts=manifest.facts,
                peak_memory_bytes=manifest.peak_memory_bytes,
                seconds=manifest.seconds,
                known_digests=manifest.known_digests(),
            )

    def read(self, entry: FileEntry, start: int) -> Iterator[bytes]:
        """Yield the bytes of a file from a place on.

        Raises:
            ArtifactCorrupt: it is not there.
            RemoteUnreachable: nobody answered.
        """
        shown = f"{self}/files/{entry.sha256}"
        try:
            path = self._file_path(entry.sha256)
            with self._reached(looking=True), self._files.open(path, "rb") as stream:
                stream.seek(start)
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            raise ArtifactCorrupt(f"{shown}: is missing", remedy=DAMAGED) from error


@dataclass
class _Arriving:
    """The files of one artifact on their way here."""

    remote: Remote
    store: Store
    manifest: Manifest
    progress: Progress
    done: int = 0

    def fetch(self, name: str, entry: FileEntry, target: Path) -> None:
        """Take a file, and put it in its place when it has the right bytes.

        Raises:
            ArtifactCorrupt: it is not what its name says.
        """
        path = self.store.download_path(entry.sha256)
        lock_path = self.store.locks_dir / f"{path.name.removeprefix('.')}.lock"
        with locks.held(lock_path):
            was_begun = path.exists()
            try:
                self._fetch(path, name, entry)
            except ArtifactCorrupt:
                path.unlink()
                if not was_begun:
                    raise
                # What was here from before may be what is wrong.
                self._fetch(path, name, entry)
            path.rename(target)
            locks.unlink_held(lock_path)

    def _fetch(self, path: Path, name: str, entry: FileEntry) -> None:
        """Go on with a file until it is whole and has the right bytes.

        Raises:
            ArtifactCorrupt: it has others.
        """
        digest, total = hashlib.sha256(), self.manifest.size_bytes
        with path.open("a+b") as stream:
            stream.seek(0)
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
            here = stream.tell()
            if here < entry.size_bytes:
                for chunk in self.remote.read(entry, here):
                    stream.write(chunk)
                    digest.update(chunk)
                    here += len(chunk)
                    self.progress(f"taking {name}", done=self.done + here, total=total, unit="B")
                    if here > entry.size_bytes:
                        break
        if here != entry.size_bytes or digest.hexdigest() != entry.sha256:
            shown = f"{self.remote}/files/{entry.sha256}"
            raise ArtifactCorrupt(f"{shown}: is not {name} as it was built", remedy=DAMAGED)
        fsync(path)


def _own_files(store: Store) -> Mapping[str, Path]:
    """Return the files of the store itself by their digest."""
    return {
        entry.sha256: store.root / stage / sha256 / name
        for stage, sha256, manifest in store.artifacts(damaged=lambda _: None)
        for name, entry in manifest.files.items()
        if not entry.link
    }


def _linked(source: Path | None, entry: FileEntry, target: Path) -> bool:
    """Link a file of the store that is what it was; say whether there is one."""
    from ovrecipe.store.digests import sha256_of

    if source is None:
        return False
    try:
        link_file(source, target)
    except FileNotFoundError:  # it was collected a moment ago
        return False
    if target.stat().st_size == entry.size_bytes and sha256_of(target) == entry.sha256:
        return True
    target.unlink()
    return False


def not_there(remote: Remote, what: object) -> NotBuilt:
    """Return the error for what nobody has pushed."""
    return NotBuilt(
        f"{remote} has no {what}",
        remedy="push it from where it was built; keys differ where a recipe or package differs",
    )
