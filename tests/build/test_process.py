"""What is said of a process that did not do its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.build.process import Seen, failure
from ovrecipe.errors import DiskFull, GateError, StageError, StageKilled

MB, GB = 10**6, 10**9
PLENTY = Seen(peak_bytes=GB, available_bytes=8 * GB, least_room_bytes=9 * GB)


def said(tmp_path: Path, code: int, seen: Seen) -> str:
    """Return what is said of a process that ended with a code and no word."""
    log_path = tmp_path / "log.txt"
    log_path.write_text("one\nthe last words\n")
    return str(failure("base m", code, {}, seen, log_path))


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (PLENTY, r"\(signal 9\); the largest it was seen is 1.00 GB and 8.00 GB of memory were a"),
        (Seen(GB, 500 * MB), r"\(signal 9\), probably for lack of memory; .* and 500.0 MB of me"),
        (Seen(GB, 8 * GB, None, killed_for_memory=True), r"\(signal 9\) for lack of memory; "),
        (Seen(0, 8 * GB), r"\(signal 9\); 8.00 GB of memory were available then"),
        (Seen(), r"\(signal 9\); nothing was seen of its memory"),
    ],
    ids=["plenty", "little", "the kernel's own count", "no size seen", "nothing seen"],
)
def test_a_kill_is_for_lack_of_memory_only_where_that_is_plausible(
    tmp_path: Path, seen: Seen, reason: str
) -> None:
    """People kill processes too; and 0.00 GB is no fact about any."""
    found = failure("base m", -9, {}, seen, tmp_path / "log.txt")
    assert isinstance(found, StageKilled)
    with pytest.raises(StageKilled, match=f"base m: its process was killed from outside {reason}"):
        raise found
    assert ("more memory" in str(found.remedy)) == ("lack of memory" in found.message)


def test_a_crash_shows_the_end_of_the_log(tmp_path: Path) -> None:
    """Signal 11 comes from the code itself."""
    text = said(tmp_path, -11, PLENTY)
    assert text.startswith("base m: its process ended with signal 11 (the largest it was seen is 1")
    assert text.endswith("\n  | one\n  | the last words\n  build again: finished stages are kept")


@pytest.mark.parametrize(
    "message",
    [
        "basic_ios::clear: iostream error",
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "[Errno 28] No space left on device",
        "1000000 requested and 131072 written",
        "[Errno 122] Disk quota exceeded",
        "[Errno 27] File too large",
    ],
    ids=["OpenVINO", "safetensors", "Python", "numpy", "quota", "limit"],
)
def test_a_full_disk_is_known_from_the_words_of_every_library(tmp_path: Path, message: str) -> None:
    """It is the user's to mend, and no defect of who wrote last."""
    last = {
        "kind": "PluginError",
        "message": message,
        "remedy": "tell its maintainers",
        "details": "",
    }
    found = failure("base m", 4, last, PLENTY, tmp_path / "log.txt")
    assert isinstance(found, DiskFull)
    assert message in found.message
    assert "the least room that was seen is 9.00 GB" in found.message
    assert "ovrecipe gc" in str(found.remedy)


def test_a_disk_that_was_full_once_explains_any_failure(tmp_path: Path) -> None:
    """The log could not be written either, so the library's words may be lost."""
    (tmp_path / "log.txt").write_text("")
    seen = Seen()
    for room_bytes in (9_000_000_000, 0, 9_000_000_000):
        seen.note_room(room_bytes)
    found = failure("base m", 1, {}, seen, tmp_path / "log.txt")
    assert isinstance(found, DiskFull)


def test_a_known_error_keeps_its_class_and_remedy(tmp_path: Path) -> None:
    """The exit code depends on it; a disk with room is no reason to doubt it."""
    last = {
        "kind": "GateError",
        "message": "no answer",
        "remedy": "another precision",
        "details": "in the worker",
    }
    found = failure("check m:int4", 8, last, PLENTY, tmp_path / "log.txt")
    assert type(found) is GateError
    assert (found.message, found.remedy) == ("check m:int4: no answer", "another precision")
    assert str(found.__cause__) == "\nin the worker"
    odd = failure("x", 1, {**last, "kind": "Odd"}, PLENTY, tmp_path)
    assert type(odd) is StageError
