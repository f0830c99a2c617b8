"""A user's calibration texts."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.builtin.calibration import read_texts
from ovrecipe.errors import StageError


def file_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@given(st.lists(st.text(st.characters(codec="utf-8")).filter(str.strip), min_size=1))
def test_any_text_survives_json_lines(texts: list[str]) -> None:
    """What the user wrote is what the model is calibrated on, newlines and emoji included."""
    lines = "\n".join(json.dumps({"text": text, "id": 1}) for text in texts)
    with TemporaryDirectory() as folder:
        path = file_of(Path(folder), "d.jsonl", lines.encode())
        assert read_texts(path, at_most=1000) == texts


def test_lines_are_taken_in_order_and_blank_ones_skipped(tmp_path: Path) -> None:
    """The same file gives the same samples; a byte order mark is no text."""
    path = file_of(tmp_path, "d.txt", b"\xef\xbb\xbfone\r\n\n  \ntwo\nthree\n")
    assert read_texts(path, at_most=2) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b'{"text": "a"}\n{"text": 3}\n', r"d\.jsonl:2: no text in it"),
        ("d.jsonl", b'{"prompt": "a"}\n', r"d\.jsonl:1: no text in it"),
        ("d.jsonl", b'"a"\n[]\n', r"d\.jsonl:2: no text"),
        ("d.jsonl", b'"a"\n\n{"text"\n', r"d\.jsonl:3: not JSON"),
        ("d.txt", b"fine\nb\xffd\n", r"d\.txt:2: not UTF-8 \(byte 2 of the line\)"),
        ("d.txt", b"\x7fELF\x00\x01", r"d\.txt:1: binary data, no text"),
        ("d.jsonl", '{"text": "a"}\n'.encode("utf-16"), r"d\.jsonl:1: binary data, no text"),
        ("d.txt", b"fine\n" + b"a" * 16_000_001, r"d\.txt:2: a line of more than 16 MB"),
        ("d.txt", b" \n\n", r"data set d\.txt has no text"),
        ("d.txt", b"", r"data set d\.txt has no text"),
    ],
)
def test_unusable_data_is_refused_with_its_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    """A data set of a million lines cannot be searched by eye."""
    with pytest.raises(StageError, match=message):
        read_texts(file_of(tmp_path, name, content), at_most=10)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(StageError, match=r"data set none\.txt cannot be read: No such file"):
        read_texts(tmp_path / "none.txt", at_most=10)


@pytest.mark.parametrize(("head", "wanted"), [(b"", 1), (b'"one"\n"two"\n', 3)])
def test_of_a_gigabyte_no_more_is_read_than_a_line(
    head: bytes, wanted: int, tmp_path: Path
) -> None:
    """A sparse file takes no room on the disk; read whole, it would take all of the memory."""
    path = file_of(tmp_path, "d.jsonl", head)
    with path.open("r+b") as stream:
        stream.truncate(10**9)
    tracemalloc.start()
    try:
        with pytest.raises(StageError, match="binary data"):
            read_texts(path, at_most=wanted)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_of_a_gigabyte_only_the_texts_that_are_wanted_are_read(tmp_path: Path) -> None:
    """What is behind them may be anything."""
    path = file_of(tmp_path, "d.jsonl", b'"one"\n"two"\n')
    with path.open("r+b") as stream:
        stream.truncate(10**9)
    assert read_texts(path, at_most=2) == ["one", "two"]
