"""Writing a safetensors file tensor by tensor, so that only one of them is in memory.

Source: the safetensors format, an 8-byte little-endian header length, a JSON header, the data.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

ITEM_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
ALIGNMENT = 8


@dataclass(frozen=True)
class TensorPlan:
    """Name, format's dtype name and shape of a tensor that will be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """How many bytes the tensor's data takes."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]


def write_safetensors(path: Path, plans: Sequence[TensorPlan], data: Iterable[bytes]) -> None:
    """Write a file from the plans and, in the same order, the bytes of each tensor."""
    with path.open("wb") as file:
        header = _header(plans)
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        for plan, content in zip(plans, data, strict=True):
            assert len(content) == plan.size_bytes, f"{plan.name}: the plan has another size"
            file.write(content)


def _header(plans: Sequence[TensorPlan]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for each in plans:
        end = offset + each.size_bytes
        entries[each.name] = {
            "dtype": each.dtype,
            "shape": list(each.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % ALIGNMENT)
