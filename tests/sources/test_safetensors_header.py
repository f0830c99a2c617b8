"""Headers and indexes come from elsewhere: any damage is one kind of error."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrecipe.build.preflight import matrices
from ovrecipe.builtin.checkpoint import check_contents, read_header, read_index
from ovrecipe.errors import CheckpointIncomplete
from ovrecipe.recipe.schema import Model

ENTRY = {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}
HEADER: dict[str, Any] = {"__metadata__": {"format": "pt"}, "a.weight": ENTRY}
INDEX: dict[str, Any] = {"metadata": {}, "weight_map": {"a.weight": "model-1.safetensors"}}

numbers = st.integers() | st.sampled_from([0, 32, 2**63, 10**400])
scalars = st.none() | st.booleans() | numbers | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def written(header: Any, data: bytes = bytes(32)) -> bytes:
    """Return a file with that header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of a document, itself included."""
    items = value.items() if isinstance(value, dict) else []
    items = enumerate(value) if isinstance(value, list) else items
    return [path, *(found for key, inner in items for found in paths_of(inner, (*path, key)))]


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at one place."""
    if not path:
        return value
    copy = json.loads(json.dumps(document))
    target = copy
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return copy


def is_accepted(folder: Path) -> bool:
    """Read a checkpoint as the source and the preflight do."""
    try:
        check_contents("here", folder, Model(id="x"))
        matrices(folder)
    except CheckpointIncomplete:
        return False
    return True


def in_checkpoint(name: str, content: bytes, shard: bytes | None = None) -> bool:
    """Put a file into a checkpoint and say whether that is accepted."""
    with TemporaryDirectory() as root:
        folder = Path(root)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        if shard is not None:
            (folder / "model-1.safetensors").write_bytes(shard)
        (folder / name).write_bytes(content)
        return is_accepted(folder)


@given(path=st.sampled_from(paths_of(HEADER)), value=anything)
def test_a_mutated_header_is_accepted_or_refused(path: tuple[Any, ...], value: Any) -> None:
    """Never another error: the user would see a traceback of ours for a broken download."""
    in_checkpoint("model.safetensors", written(replaced(HEADER, path, value)))


@given(path=st.sampled_from(paths_of(INDEX)), value=anything)
def test_a_mutated_index_is_accepted_or_refused(path: tuple[Any, ...], value: Any) -> None:
    """As for headers."""
    content = json.dumps(replaced(INDEX, path, value)).encode()
    in_checkpoint("model.safetensors.index.json", content, written(HEADER))


@given(place=st.integers(0, 160), byte=st.integers(0, 255), cut=st.integers(0, 160))
@settings(max_examples=60)
def test_flipped_and_missing_bytes_are_accepted_or_refused(place: int, byte: int, cut: int) -> None:
    """What a bad disk and a broken connection leave."""
    content = bytearray(written(HEADER))
    content[place % len(content)] = byte
    in_checkpoint("model.safetensors", bytes(content[: len(content) - cut]))


def test_whole_checkpoints_are_accepted() -> None:
    """Else the properties above would say nothing."""
    assert in_checkpoint("model.safetensors", written(HEADER))
    index = json.dumps(INDEX).encode()
    assert in_checkpoint("model.safetensors.index.json", index, written(HEADER))


@pytest.mark.parametrize(
    "entry",
    [
        {**ENTRY, "shape": "x"},
        {**ENTRY, "shape": [2, True]},
        {**ENTRY, "shape": [2, 5]},
        {"dtype": "F32", "shape": [2, 4]},
        {**ENTRY, "data_offsets": [32, 0]},
        {**ENTRY, "dtype": 4},
        "x",
    ],
)
def test_damaged_entries_are_refused(tmp_path: Path, entry: Any) -> None:
    """Each of them was a traceback once, or a wrong size."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(written({"a.weight": entry}))
    with pytest.raises(CheckpointIncomplete, match=r"model.safetensors is not a safetensors file"):
        read_header("here", path)


def test_a_header_that_never_ends_is_refused(tmp_path: Path) -> None:
    """The parser gives up on it with an error that is not about values."""
    text = b"[" * 200_000
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CheckpointIncomplete, match="is not a safetensors file"):
        read_header("here", path)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {}}, {"weight_map": 1}])
def test_an_index_without_shards_is_refused(tmp_path: Path, index: Any) -> None:
    """An index is there to name files."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointIncomplete, match="has no weight_map"):
        read_index("here", path)


@pytest.mark.parametrize("name", ["../other.safetensors", "/other.safetensors", "x" * 300])
def test_an_index_names_files_beside_it(tmp_path: Path, name: str) -> None:
    """A file elsewhere is none of the checkpoint's."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointIncomplete, match="names no file with"):
        read_index("here", path)
