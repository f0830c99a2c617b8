"""What becomes of a stage's folder."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ovrecipe.errors import ArtifactCorrupt, NotBuilt, StoreError
from ovrecipe.store.disk import link_file
from ovrecipe.store.manifest import MANIFEST, FileEntry, verify
from ovrecipe.store.publish import stagings
from ovrecipe.store.store import Store
from tests.store.making import FILES, fill, key_of, make


def test_published_files_are_the_staged_ones(store: Store) -> None:
    artifact_dir = make(store, key_of())
    assert artifact_dir == store.root / "base" / key_of().sha256
    assert {name: (artifact_dir / name).read_bytes() for name in FILES} == FILES


def test_manifest_says_all_about_the_making(store: Store) -> None:
    """`why`, `sizes` and reports read nothing else."""
    store = Store(store.root, clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    key = key_of(group_size=64)
    with store.staging(key) as staging_dir:
        fill(staging_dir, {"a": b"abc"})
        store.publish(
            key,
            staging_dir,
            tools={"nncf": "3.4"},
            facts={"weights": 12},
            peak_memory_bytes=10**9,
            seconds=1.5,
        )
    manifest = store.manifest(key)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    mtime_ns = (store.artifact_dir(key) / "a").stat().st_mtime_ns
    assert manifest.files == {"a": FileEntry(size_bytes=3, sha256=digest, mtime_ns=mtime_ns)}
    assert manifest.key == key.document
    assert (manifest.stage, manifest.sha256) == ("base", key.sha256)
    assert manifest.tools == {"nncf": "3.4"}
    assert manifest.facts == {"weights": 12}
    assert (manifest.peak_memory_bytes, manifest.seconds) == (10**9, 1.5)
    assert manifest.created == "2026-01-02T03:04:05+00:00"
    assert manifest.known_digests() == {"a": (3, digest)}
    assert store.manifest(key).size_bytes == 3


def test_no_path_of_the_machine_is_in_a_manifest(store: Store) -> None:
    """Stores are copied to other machines."""
    assert str(store.root) not in (make(store, key_of()) / MANIFEST).read_text()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_results_are_read_only(store: Store) -> None:
    """A hard-linked file that somebody saves over would change every artifact that has it."""
    artifact_dir = make(store, key_of())
    everything = [artifact_dir, *artifact_dir.rglob("*")]
    assert all(path.stat().st_mode & 0o222 == 0 for path in everything)


@pytest.mark.skipif(os.name == "nt", reason="Windows flushes no folders")
def test_all_is_on_the_disk_before_the_artifact_appears(store: Store) -> None:
    """After a power cut the file system may keep a rename and lose what was written before it."""
    calls: list[str] = []

    def note(frame: object, event: str, argument: object) -> None:
        if event == "c_call" and argument in (os.fsync, os.rename):
            calls.append(argument.__name__)  # type: ignore[attr-defined]

    with store.staging(key_of()) as staging_dir:
        fill(staging_dir)
        sys.setprofile(note)
        store.publish(key_of(), staging_dir)
        sys.setprofile(None)
    written = len([*FILES, MANIFEST, "extra/", "./"])
    flushed_after = len(["base/", "store/"])
    assert calls == ["fsync"] * written + ["rename"] + ["fsync"] * flushed_after


def test_a_failed_stage_leaves_nothing(store: Store) -> None:
    """A failure is never recorded as a result."""

    def build() -> None:
        with store.staging(key_of()) as staging_dir:
            fill(staging_dir)
            raise RuntimeError("exporter")

    with pytest.raises(RuntimeError, match="exporter"):
        build()
    assert stagings(store.root) == []
    assert not store.has(key_of())
    assert list(store.folders()) == []


def test_the_log_of_a_failed_stage_is_kept(store: Store) -> None:
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {"log.txt": b"out of memory"})
        kept = store.keep_log(staging_dir / "log.txt", key_of())
    assert kept == store.logs_dir / f"base-{key_of().short}.log"
    assert kept.read_text() == "out of memory"


def test_a_stage_that_succeeds_has_no_log_of_a_failure(store: Store) -> None:
    """`why` would say that it failed, long after it was built and removed."""
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {"log.txt": b"out of memory"})
        store.keep_log(staging_dir / "log.txt", key_of())
    make(store, key_of())
    assert not store.log_path(key_of()).exists()


def test_a_missing_log_is_said_to_be_missing(store: Store) -> None:
    with store.staging(key_of()) as staging_dir, pytest.raises(StoreError, match="left no log"):
        store.keep_log(staging_dir / "log.txt", key_of())


def test_publishing_twice_keeps_the_first(store: Store) -> None:
    """Its files may be open or linked elsewhere."""
    artifact_dir = make(store, key_of())
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {"other": b""})
        assert store.publish(key_of(), staging_dir) == artifact_dir
    assert not (artifact_dir / "other").exists()


def test_a_folder_without_manifest_is_replaced(store: Store) -> None:
    """Somebody deleted parts of an artifact by hand; the next build repairs it."""
    artifact_dir = make(store, key_of())
    artifact_dir.chmod(0o755)
    (artifact_dir / MANIFEST).unlink()
    make(store, key_of())
    assert verify(store.folders()) == []


def test_a_subfolder_of_the_staging_folder_can_be_published(store: Store) -> None:
    """Logs and temporary files lie beside the output and are not part of it."""
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {"log.txt": b"", "output/a": b"abc"})
        store.publish(key_of(), staging_dir / "output")
    assert not staging_dir.exists()
    assert list(store.manifest(key_of()).files) == ["a"]


def test_linked_files_are_recorded_by_their_targets(store: Store, tmp_path: Path) -> None:
    """A checkpoint on this disk is linked; what it holds is part of the record all the same."""
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"abc")
    checkpoint.chmod(0o644)
    with store.staging(key_of("source")) as staging_dir:
        (staging_dir / "model.safetensors").symlink_to(checkpoint)
        store.publish(key_of("source"), staging_dir)
    entry = store.manifest(key_of("source")).files["model.safetensors"]
    assert (entry.size_bytes, entry.link) == (3, True)
    assert checkpoint.stat().st_mode & 0o777 == 0o644, "the user's file stays as it was"
    assert store.manifest(key_of("source")).size_bytes == 0


def test_a_hard_link_to_a_users_file_keeps_its_mode(store: Store, tmp_path: Path) -> None:
    """Both names share one mode, and the user wants to go on writing."""
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"abc")
    checkpoint.chmod(0o644)
    with store.staging(key_of("source")) as staging_dir:
        (staging_dir / "model.safetensors").hardlink_to(checkpoint)
        store.publish(key_of("source"), staging_dir)
    assert checkpoint.stat().st_mode & 0o777 == 0o644


def test_known_digests_are_not_computed_again(store: Store) -> None:
    """Assembling links gigabytes whose digests are known; a made-up digest shows who is asked."""
    base = make(store, key_of())
    known = {"openvino_model.bin": (3000, "f" * 64)}
    with store.staging(key_of("assemble")) as staging_dir:
        how = link_file(base / "openvino_model.bin", staging_dir / "openvino_model.bin")
        store.publish(key_of("assemble"), staging_dir, known_digests=known)
    assert how == "hardlink"
    entry = store.manifest(key_of("assemble")).files["openvino_model.bin"]
    assert (entry.size_bytes, entry.sha256) == (3000, "f" * 64)


def test_a_known_file_of_another_size_is_not_published(store: Store) -> None:
    with store.staging(key_of("assemble")) as staging_dir:
        fill(staging_dir, {"a": b"abc"})
        with pytest.raises(ArtifactCorrupt, match="a has 3 bytes, and 4 in the artifact"):
            store.publish(key_of("assemble"), staging_dir, known_digests={"a": (4, "f" * 64)})
    assert not store.has(key_of("assemble"))


def test_the_manifests_name_is_the_stores(store: Store) -> None:
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {MANIFEST: b"{}"})
        with pytest.raises(StoreError, match=r"wrote manifest\.json itself"):
            store.publish(key_of(), staging_dir)


@pytest.mark.parametrize("target", ["nowhere", "."])
def test_links_to_what_is_no_file_are_refused(store: Store, target: str) -> None:
    """A dangling link, or a folder whose content nobody hashed."""
    with store.staging(key_of()) as staging_dir:
        (staging_dir / "link").symlink_to(target)
        with pytest.raises(StoreError, match=r"link links to .*, which is no file"):
            store.publish(key_of(), staging_dir)


def test_absolute_links_into_the_staging_folder_are_refused(store: Store) -> None:
    """They would dangle after the rename."""
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir, {"a": b""})
        (staging_dir / "link").symlink_to(staging_dir / "a")
        with pytest.raises(StoreError, match="into the staging folder by its absolute path"):
            store.publish(key_of(), staging_dir)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_what_is_no_file_at_all_is_refused(store: Store) -> None:
    with store.staging(key_of()) as staging_dir:
        os.mkfifo(staging_dir / "pipe")
        with pytest.raises(StoreError, match="pipe is no regular file"):
            store.publish(key_of(), staging_dir)


def test_a_linked_file_has_no_second_copy(store: Store) -> None:
    artifact_dir = make(store, key_of())
    with store.staging(key_of("assemble")) as staging_dir:
        for name in FILES:
            (staging_dir / name).parent.mkdir(exist_ok=True)
            assert link_file(artifact_dir / name, staging_dir / name) == "hardlink"
        assert (staging_dir / "extra/note").samefile(artifact_dir / "extra/note")
        store.publish(key_of("assemble"), staging_dir)
    store.remove(key_of())
    assert verify(store.folders()) == [], "the other names keep the bytes"


def test_a_link_is_linked_as_a_link(store: Store, tmp_path: Path) -> None:
    """A hard link to a user's file would survive the user's deleting it, and share its mode."""
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert link_file(tmp_path / "link", tmp_path / "second") == "symlink"
    assert (tmp_path / "second").readlink() == tmp_path / "target"


def test_a_removed_artifact_is_gone(store: Store) -> None:
    artifact_dir = make(store, key_of())
    store.remove(key_of())
    store.remove(key_of())
    assert not store.has(key_of())
    assert not artifact_dir.exists()
    with pytest.raises(NotBuilt, match="is not in the store"):
        store.manifest(key_of())


def test_git_and_backups_pass_the_store_by(store: Store) -> None:
    store.prepare()
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 0}, "schema: must be 1, got 0"),
        (
            {"files": {"../a": {"size_bytes": 1, "sha256": "0" * 64, "link": False}}},
            r"files\.\.\./a: is no path inside the artifact",
        ),
        (
            {"files": {"a": {"size_bytes": "1", "sha256": "0" * 64, "link": False}}},
            r"files\.a\.size_bytes",
        ),
        ({"files": []}, "files: must be a mapping of keys, got a list"),
        ({"stage": None}, "stage: must be text, got nothing"),
        ({"extra": 1}, "extra: unknown key; known are stage, sha256, key"),
    ],
)
def test_a_changed_manifest_is_corrupt(
    store: Store, change: dict[str, object], complaint: str
) -> None:
    """What gc and verify trust has to be exactly what was written."""
    path = make(store, key_of()) / MANIFEST
    document = {**json.loads(path.read_text()), **change}
    path.chmod(0o644)
    path.write_text(json.dumps(document))
    with pytest.raises(ArtifactCorrupt, match=complaint):
        store.manifest(key_of())


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_a_broken_manifest_is_corrupt(store: Store, text: str) -> None:
    path = make(store, key_of()) / MANIFEST
    path.chmod(0o644)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(
        ArtifactCorrupt, match=r"manifest\.json: (is not JSON|must be a mapping of keys)"
    ):
        store.manifest(key_of())
