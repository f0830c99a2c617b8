"""A disk that is full, read-only or not there is said to be so, with numbers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovrecipe.errors import DiskFull, StoreNotWritable
from ovrecipe.store.disk import link_file, remove_tree
from ovrecipe.store.manifest import verify
from ovrecipe.store.store import Store
from tests.store.making import fill, key_of, make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte of its own; mounting needs a superuser on Linux."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def filled(disk: Path) -> Path:
    """Write until the disk is full and return the file."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(4096))
            except OSError:
                return ballast


def test_a_disk_that_fills_up_while_publishing(small_disk: Path) -> None:
    """Nothing is published, the room is given back, and the next build goes through."""
    store = Store(small_disk / "store")
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir)
        ballast = filled(small_disk)
        with pytest.raises(DiskFull, match=r"the disk is full \(0 bytes free, \d+ bytes needed\)"):
            store.publish(key_of(), staging_dir)
    assert not store.has(key_of())
    ballast.unlink()
    make(store, key_of())
    assert verify(store.folders()) == []


def test_a_full_disk_cannot_hold_a_store(small_disk: Path) -> None:
    filled(small_disk)
    with pytest.raises(DiskFull, match=r"store: the disk is full \(0 bytes free\)"):
        Store(small_disk / "store").prepare()


def test_a_file_is_copied_to_another_disk_and_that_is_said(
    small_disk: Path, tmp_path: Path
) -> None:
    """A hard link ends at the disk's edge; the caller can tell the user what it cost."""
    (tmp_path / "a").write_bytes(b"abc")
    assert link_file(tmp_path / "a", small_disk / "a") == "copy"
    assert (small_disk / "a").read_bytes() == b"abc"


def test_a_copy_that_does_not_fit_says_how_much_is_missing(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(5_000_000))
    with pytest.raises(DiskFull, match=r"disk is full \(.* free, 5\.0 MB needed\)"):
        link_file(tmp_path / "a", small_disk / "a")


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_a_file_size_limit_is_a_full_disk(store: Store) -> None:
    """A quota and a limit end like a full disk: with less than was asked for."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with store.staging(key_of()) as staging_dir:
        fill(staging_dir)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        try:
            with pytest.raises(DiskFull, match="the disk is full"):
                store.publish(key_of(), staging_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not store.has(key_of())


def test_a_file_in_the_stores_place_is_refused(tmp_path: Path) -> None:
    """The remedy names the variable that puts the store elsewhere."""
    (tmp_path / "store").write_text("mine")
    with pytest.raises(StoreNotWritable, match="store: cannot be written") as caught:
        make(Store(tmp_path / "store"), key_of())
    assert "OVRECIPE_STORE" in str(caught.value)
    assert (tmp_path / "store").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_folder_that_takes_no_files_is_refused() -> None:
    """Permissions do not stop a superuser; this file system does."""
    with pytest.raises(StoreNotWritable, match="/proc/self/store: cannot be written"):
        Store(Path("/proc/self/store")).prepare()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("permissions do not stop a superuser")
    tmp_path.chmod(0o555)
    with pytest.raises(StoreNotWritable, match="Permission denied"):
        Store(tmp_path / "store").prepare()


def test_a_store_that_is_not_there_is_empty(store: Store) -> None:
    """Looking makes nothing."""
    assert not store.has(key_of())
    assert list(store.artifacts()) == []
    assert verify(store.folders()) == []
    assert not store.root.exists()


def test_a_removed_tree_spares_what_links_lead_to(tmp_path: Path) -> None:
    """A checkpoint of the user's is only linked from what gc removes."""
    fill(tmp_path, {"user/checkpoint": b"mine", "tree/sub/own": b""})
    (tmp_path / "tree/sub/file").symlink_to(tmp_path / "user/checkpoint")
    (tmp_path / "tree/sub/folder").symlink_to(tmp_path / "user")
    (tmp_path / "tree/sub").chmod(0o555)
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert (tmp_path / "user/checkpoint").read_bytes() == b"mine"


def test_a_removed_name_leaves_the_files_other_names_read_only(tmp_path: Path) -> None:
    """On Windows a read-only file is not removed, and the mode belongs to all of its names."""
    fill(tmp_path, {"kept/model.bin": b"weights"})
    (tmp_path / "kept/model.bin").chmod(0o444)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/model.bin").hardlink_to(tmp_path / "kept/model.bin")
    remove_tree(tmp_path / "old")
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "kept/model.bin").stat().st_mode & 0o222 == 0
