"""The lock file: read by people, kept in version control, written by builds."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ovrecipe.errors import ProjectError, StoreNotWritable
from ovrecipe.store.pins import Pins


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    return Pins(tmp_path / "ovrecipe.lock")


def test_what_is_recorded_is_found(pins: Pins) -> None:
    pins.record("org/m", "main", {"commit": "abc", "files": {"a": [1, None]}})
    assert pins.get("org/m", "main") == {"commit": "abc", "files": {"a": [1, None]}}
    assert pins.get("org/m", None) is None, "no revision is not the revision 'main'"
    assert pins.get("org/other", "main") is None


def test_without_a_file_nothing_is_pinned_and_nothing_made(pins: Pins) -> None:
    assert pins.get("org/m", None) is None
    assert not pins.lock_path.exists()


def test_the_file_reads_well_and_in_order(pins: Pins) -> None:
    """A difference in version control shows one model, wherever it was recorded."""
    pins.record("b/é", None, {"commit": "2"})
    pins.record("a/m", "v1", {"commit": "1"})
    assert pins.lock_path.read_text(encoding="utf-8") == (
        "{\n"
        '  "schema": 1,\n'
        '  "pins": [\n'
        '    {\n      "model": "a/m",\n      "revision": "v1",\n'
        '      "pin": {\n        "commit": "1"\n      }\n    },\n'
        '    {\n      "model": "b/é",\n      "revision": null,\n'
        '      "pin": {\n        "commit": "2"\n      }\n    }\n'
        "  ]\n"
        "}\n"
    )


def test_recording_leaves_only_the_lock_file(pins: Pins) -> None:
    """The folder is the user's project."""
    pins.record("a/m", None, {"commit": "1"})
    assert [path.name for path in pins.lock_path.parent.iterdir()] == ["ovrecipe.lock"]


def test_the_same_pin_again_writes_nothing(pins: Pins) -> None:
    pins.record("a/m", None, {"commit": "1"})
    before = pins.lock_path.stat()
    pins.record("a/m", None, {"commit": "1"})
    assert pins.lock_path.stat().st_ino == before.st_ino


def test_a_newer_pin_replaces_the_older(pins: Pins) -> None:
    pins.record("a/m", None, {"commit": "1"})
    pins.record("a/m", None, {"commit": "2"})
    assert pins.get("a/m", None) == {"commit": "2"}


def test_builds_at_once_lose_no_pin(pins: Pins) -> None:
    def record(number: int) -> None:
        for revision in range(5):
            pins.record(f"m{number}", str(revision), {"commit": "1"})

    threads = [threading.Thread(target=record, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(
        pins.get(f"m{number}", str(revision)) for number in range(6) for revision in range(5)
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ":1:1: is not JSON"),
        ('{\n  "schema": 1,\n<<<<<<< HEAD\n', ":3:1: is not JSON"),
        ("[]", ":1:1: must be a mapping of keys, got a list"),
        ('{"pins": []}', ":1:1: schema: is missing"),
        ('{"schema": 7, "pins": []}', ":1:12: schema: must be 1, got 7"),
        (
            '{"schema": 1, "pins": [], "pinz": []}',
            ":1:27: pinz: unknown key; perhaps you meant 'pins'",
        ),
        ('{"schema": 1, "pins": {}}', r":1:23: pins: must be a list, got a mapping"),
        (
            '{"schema": 1, "pins": [\n{"model": "a", "revision": null, "pin": {}},\n{"model": 1}]}',
            r":3:11: pins\[1\]\.model: must be text, got 1",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(pins: Pins, text: str, complaint: str) -> None:
    """A merge conflict must not become another commit's model."""
    pins.lock_path.write_text(text)
    with pytest.raises(ProjectError, match=rf"ovrecipe\.lock{complaint}"):
        pins.get("a/m", None)
    with pytest.raises(ProjectError, match=rf"ovrecipe\.lock{complaint}"):
        pins.record("a/m", None, {})
    assert pins.lock_path.read_text() == text


def test_text_that_is_not_utf8_is_refused(pins: Pins) -> None:
    pins.lock_path.write_bytes(b"\xff")
    with pytest.raises(ProjectError, match=r"ovrecipe\.lock:1:1: is not JSON"):
        pins.get("a/m", None)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreNotWritable, match="file: cannot be written") as caught:
        Pins(tmp_path / "file" / "ovrecipe.lock").record("a/m", None, {})
    assert caught.value.remedy == "make the project's folder writable"
