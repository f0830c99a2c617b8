"""Reading what a safetensors file says of itself, and the index of shards; no data is read.

Both come from elsewhere and may be damaged in any way, so nothing is taken on trust: whatever is
not as the format wants it is one kind of error, and what is returned can be calculated with.

Source: the safetensors format, an 8-byte little-endian header length, a JSON header, the data.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.sources.selection import leads_out
from ovrecipe.errors import CheckpointIncomplete

if TYPE_CHECKING:
    from pathlib import Path

#: The format allows no longer header; a larger number means that the file is something else.
MAX_HEADER_BYTES = 100_000_000
LENGTH = struct.Struct("<Q")
METADATA = "__metadata__"
#: No disk holds more elements; larger numbers would overflow where sizes are estimated.
MAX_ELEMENTS = 2**63
#: Bits of an element; dtypes that are not here are accepted without comparing sizes.
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}

#: What file systems take; asking for a longer name is an error of its own.
MAX_NAME = 255


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a header: the format's dtype name, its shape, and where its data lies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(where: str, path: Path) -> tuple[TensorEntry, ...]:
    """Return the tensors of a file, after comparing its size with what the header promises.

    Raises:
        CheckpointIncomplete: the file is missing, cut off, damaged or something else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_size, document = _document(file.read(LENGTH.size), file, size)
    except FileNotFoundError as exc:
        raise CheckpointIncomplete(
            f"{where}: {path.name} is missing", remedy="fetch the missing files"
        ) from exc
    except (OSError, ValueError) as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} cannot be read: {exc}") from exc
    entries = None if document is None else _entries(document)
    if entries is None:
        raise CheckpointIncomplete(
            f"{where}: {path.name} is not a safetensors file",
            remedy="a file of a few lines may be a Git LFS pointer: run 'git lfs pull'",
        )
    expected = LENGTH.size + header_size + max((each.end for each in entries), default=0)
    if expected != size:
        raise CheckpointIncomplete(
            f"{where}: {path.name} has {size} bytes and its header promises {expected}",
            remedy="the copy or download broke off: fetch the file again",
        )
    return entries


def _document(prefix: bytes, file: Any, size: int) -> tuple[int, Any]:
    """Return the header's length and content; None for what cannot be a header."""
    if len(prefix) < LENGTH.size:
        return 0, None
    (header_size,) = LENGTH.unpack(prefix)
    if header_size > min(size, MAX_HEADER_BYTES):
        return 0, None
    try:
        return header_size, json.loads(file.read(header_size))
    except (ValueError, RecursionError):
        return header_size, None


def _entries(document: Any) -> tuple[TensorEntry, ...] | None:
    """Return the tensors; None when anything is not as the format wants it."""
    if not isinstance(document, dict):
        return None
    found = [_entry(name, each) for name, each in document.items() if name != METADATA]
    entries = tuple(each for each in found if each is not None)
    return entries if len(entries) == len(found) else None


def _entry(name: str, entry: Any) -> TensorEntry | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return None
    shape, offsets = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        return None
    bits = BITS.get(entry["dtype"])
    if bits is not None and prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        return None
    return TensorEntry(name, entry["dtype"], shape, *offsets)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a list of sizes; None when it is none, or larger than anything that exists."""
    if not isinstance(value, list) or not all(type(each) is int and each >= 0 for each in value):
        return None
    return tuple(value) if prod(each or 1 for each in value) <= MAX_ELEMENTS else None


def read_index(where: str, path: Path) -> tuple[str, ...]:
    """Return the names of the shards that an index names, sorted.

    Raises:
        CheckpointIncomplete: the index is damaged, or names no shards.
    """
    weight_map = read_json(where, path).get("weight_map")
    found = list(weight_map.values()) if isinstance(weight_map, dict) else []
    names = {each for each in found if isinstance(each, str)}
    if not names or not all(isinstance(each, str) for each in found):
        raise CheckpointIncomplete(
            f"{where}: {path.name} has no weight_map from tensors to files",
            remedy="fetch the file again",
        )
    for name in names:
        if leads_out(name) or len(name) > MAX_NAME:
            raise CheckpointIncomplete(f"{where}: {path.name} names no file with {name[:80]!r}")
    return tuple(sorted(names))


def read_json(where: str, path: Path) -> dict[str, Any]:
    """Return a file's JSON object.

    Raises:
        CheckpointIncomplete: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except RecursionError as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} is nested too deeply") from exc
    except (OSError, ValueError) as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise CheckpointIncomplete(f"{where}: {path.name} is not a JSON object")
    return content
