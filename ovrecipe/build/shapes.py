"""The weights of a checkpoint from the headers of its safetensors files; no data is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.checkpoint import read_header, read_index, read_json
from ovrecipe.hooks.roles import WeightShape

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "model.safetensors.index.json"
#: What messages call it: which one it is stands on the line with the stage's name.
WHERE = "the checkpoint"
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
        for each in read_header(WHERE, path):
            if each.dtype in DTYPES:
                found[each.name] = WeightShape(each.name, each.shape, DTYPES[each.dtype])
    return [found[name] for name in sorted(found)]


def _files(checkpoint_dir: Path) -> list[Path]:
    index = checkpoint_dir / INDEX
    if index.exists():
        return [checkpoint_dir / name for name in read_index(WHERE, index)]
    single = checkpoint_dir / "model.safetensors"
    return [single] if single.exists() else []


def _swapped(each: WeightShape) -> WeightShape:
    return WeightShape(each.name, (*each.shape[:-2], each.shape[-1], each.shape[-2]), each.dtype)


def _config(checkpoint_dir: Path) -> dict[str, Any]:
    path = checkpoint_dir / "config.json"
    return read_json(WHERE, path) if path.exists() else {}
