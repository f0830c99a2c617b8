"""Remembered digests are always the digest of the bytes that are there."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from ovrecipe.store.digests import RACY_NS, RememberedDigests, sha256_of

LATER = 1_000 * RACY_NS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"abc")
    return path


def settled(tmp_path: Path) -> RememberedDigests:
    """Digests for which all files were written long ago."""
    return RememberedDigests(tmp_path / ".digests.json", now_ns=lambda: 2**63 + LATER)


def replaced_unseen(path: Path, content: bytes) -> None:
    """Write other bytes of the same length and put the times back: stat sees no difference."""
    found = path.stat()
    with path.open("r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_the_digest_is_sha256(tmp_path: Path, path: Path) -> None:
    expected = hashlib.sha256(b"abc").hexdigest()
    assert sha256_of(path) == expected
    assert settled(tmp_path).sha256(path) == expected


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, path: Path) -> None:
    """A no-op build of a 40 GB checkpoint must not read 40 GB; stat is all that is asked."""
    memory = tmp_path / ".digests.json"
    digest = settled(tmp_path).sha256(path)
    memory.write_text(memory.read_text().replace(digest, "as remembered"))
    assert settled(tmp_path).sha256(path) == "as remembered"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of change")
def test_an_edit_in_place_that_puts_the_time_back_is_read_again(tmp_path: Path, path: Path) -> None:
    """Some tools patch a checkpoint and restore its time; its weights are others all the same."""
    settled(tmp_path).sha256(path)
    replaced_unseen(path, b"xyz")
    assert settled(tmp_path).sha256(path) == hashlib.sha256(b"xyz").hexdigest()


@pytest.mark.parametrize("content", [b"xyz", b"abcd", b""])
def test_a_changed_file_is_read_again(tmp_path: Path, path: Path, content: bytes) -> None:
    digests = settled(tmp_path)
    digests.sha256(path)
    found = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert digests.sha256(path) == hashlib.sha256(content).hexdigest()


def test_another_file_under_the_name_is_read_again(tmp_path: Path, path: Path) -> None:
    """A download that is renamed into place may carry the old time; its inode tells."""
    digests = settled(tmp_path)
    digests.sha256(path)
    found = path.stat()
    other = tmp_path / "other"
    other.write_bytes(b"xyz")
    os.utime(other, ns=(found.st_atime_ns, found.st_mtime_ns))
    other.replace(path)
    assert digests.sha256(path) == hashlib.sha256(b"xyz").hexdigest()


@pytest.mark.parametrize("age_ns", [-LATER, 0, RACY_NS])
def test_a_file_just_written_is_not_remembered(tmp_path: Path, path: Path, age_ns: int) -> None:
    """A second write within the clock's resolution would not show, nor one in the future."""
    now_ns = path.stat().st_mtime_ns + age_ns
    digests = RememberedDigests(tmp_path / ".digests.json", now_ns=lambda: now_ns)
    digests.sha256(path)
    replaced_unseen(path, b"xyz")
    assert digests.sha256(path) == hashlib.sha256(b"xyz").hexdigest()


def test_all_names_of_a_file_share_the_memory(tmp_path: Path, path: Path) -> None:
    digests = settled(tmp_path)
    (tmp_path / "link").symlink_to(path)
    assert digests.sha256(tmp_path / "link") == digests.sha256(path)
    assert list(json.loads((tmp_path / ".digests.json").read_text())) == [os.path.realpath(path)]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '{"a": []}', "null"])
def test_a_broken_memory_is_made_again(tmp_path: Path, path: Path, text: str) -> None:
    """It is a cache: nothing is lost but time."""
    (tmp_path / ".digests.json").write_text(text)
    assert settled(tmp_path).sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert os.path.realpath(path) in json.loads((tmp_path / ".digests.json").read_text())


def test_without_a_place_to_remember_digests_are_still_right(tmp_path: Path, path: Path) -> None:
    """`why` and `list` work in a project that this user may only read."""
    digests = RememberedDigests(tmp_path / "no such folder" / "x.json", now_ns=lambda: 2**63)
    assert digests.sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_threads_and_processes_add_to_each_other(tmp_path: Path) -> None:
    """Eight builds at once leave a whole file, with everything one of them knew."""
    paths = [tmp_path / f"shard-{number}" for number in range(8)]
    for file in paths:
        file.write_bytes(file.name.encode())
    shared = settled(tmp_path)
    threads = [threading.Thread(target=shared.sha256, args=(file,)) for file in paths]
    for each_thread in threads:
        each_thread.start()
    for each_thread in threads:
        each_thread.join()
    settled(tmp_path).sha256(paths[0])
    assert len(json.loads((tmp_path / ".digests.json").read_text())) == len(paths)


def test_files_that_are_gone_are_forgotten(tmp_path: Path, path: Path) -> None:
    digests = settled(tmp_path)
    digests.sha256(path)
    path.unlink()
    digests.forget_missing()
    assert json.loads((tmp_path / ".digests.json").read_text()) == {}


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        settled(tmp_path).sha256(tmp_path / "nothing")
