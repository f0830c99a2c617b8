"""The weights of a checkpoint from the headers of its safetensors files; no data is read.

Source: the safetensors format, an 8-byte little-endian header length, then a JSON header.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import CheckpointIncomplete
from ovrecipe.hooks.roles import WeightShape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

INDEX = "model.safetensors.index.json"
#: The format allows no longer header; a larger number means that the file is something else.
LONGEST_HEADER = 100_000_000
DTYPES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
#: Layers that store (in_channels, out_channels): transformers' Conv1D.
CONV1D_ARCHITECTURES = ("gpt2", "openai-gpt")
CONV1D_LAYERS = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight", ".q_attn.weight")


def weight_shapes(checkpoint_dir: Path) -> list[WeightShape]:
    """Return the float matrices of a checkpoint as (..., out_channels, in_channels).

    A checkpoint without safetensors files has none: nothing is known of it before it is loaded.

    Raises:
        CheckpointIncomplete: a file is missing, cut off or not in the format.
    """
    swapped = _config(checkpoint_dir).get("model_type") in CONV1D_ARCHITECTURES
    return [
        _swapped(each) if swapped and each.name.endswith(CONV1D_LAYERS) else each
        for each in tensors(checkpoint_dir)
        if len(each.shape) > 1
    ]


def tensors(checkpoint_dir: Path) -> list[WeightShape]:
    """Return all float tensors of a checkpoint, once each, by name.

    Raises:
        CheckpointIncomplete: a file is missing, cut off or not in the format.
    """
    found: dict[str, WeightShape] = {}
    for path in _files(checkpoint_dir):
        for name, entry in _header(path).items():
            if name != "__metadata__" and entry["dtype"] in DTYPES:
                shape = tuple(int(each) for each in entry["shape"])
                found[name] = WeightShape(name, shape, DTYPES[entry["dtype"]])
    return [found[name] for name in sorted(found)]


def _files(checkpoint_dir: Path) -> list[Path]:
    index = checkpoint_dir / INDEX
    if index.exists():
        return [checkpoint_dir / name for name in sorted(set(_json(index)["weight_map"].values()))]
    single = checkpoint_dir / "model.safetensors"
    return [single] if single.exists() else []


def _header(path: Path) -> dict[str, Any]:
    """Return a file's header, after checking that the file is as long as the header says."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length <= LONGEST_HEADER else None
        size = path.stat().st_size
    except (OSError, struct.error, ValueError) as error:
        raise _incomplete(path, str(error)) from error
    if not isinstance(header, dict):
        raise _incomplete(path, "not a safetensors file")
    if size < (wanted := 8 + length + _data_size(header)):
        raise _incomplete(path, f"{size} bytes, but its header promises {wanted}")
    return header


def _data_size(header: Mapping[str, Any]) -> int:
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return max(ends, default=0)


def _incomplete(path: Path, reason: str) -> CheckpointIncomplete:
    return CheckpointIncomplete(
        f"{path.name} of the checkpoint cannot be used: {reason}",
        remedy="fetch the checkpoint again; the download or the copy was cut off",
    )


def _swapped(each: WeightShape) -> WeightShape:
    return WeightShape(each.name, (*each.shape[:-2], each.shape[-1], each.shape[-2]), each.dtype)


def _config(checkpoint_dir: Path) -> dict[str, Any]:
    path = checkpoint_dir / "config.json"
    return _json(path) if path.exists() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _incomplete(path, str(error)) from error
    if not isinstance(value, dict):
        raise _incomplete(path, "not a JSON object")
    return value
