"""From GGUF tensors to model.safetensors.

The checkpoint is written in float16: a quantized GGUF holds its scales in float16, so float16
values lie within half a float16 step of the exact ones (the quantization itself moved them a
hundred times further), and the base IR, which keeps the checkpoint's dtype, needs half the room.
A file whose matrices are all BF16 or all F32 keeps that type, and one value too large for
float16 makes the whole checkpoint float32.
"""

from __future__ import annotations

import json
import re
import struct
from math import prod
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.gguf_file import OTHER_SOURCE, architecture_of
from ovrecipe.errors import CheckpointIncomplete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ovrecipe.builtin.gguf_file import GgufFile, GgufTensor

ITEM_SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
ALIGNMENT = 8
#: Tensor names of llama.cpp and transformers; those of a layer are prefixed on both sides.
MODEL_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)")
FLOAT16_MAX = 65504.0
FORMAT_NAMES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}


def checkpoint_name(file: GgufFile, gguf_name: str) -> str:
    """Return what transformers calls a tensor.

    Raises:
        CheckpointIncomplete: the name is unknown, so the model has a part that would be lost.
    """
    stem, _, kind = gguf_name.rpartition(".")
    layer = LAYER_TENSOR.fullmatch(stem)
    if layer is not None and layer[2] in LAYER_NAMES:
        return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}.{kind}"
    if stem in MODEL_NAMES:
        return f"{MODEL_NAMES[stem]}.{kind}"
    raise CheckpointIncomplete(
        f"{file.path.name}: tensor '{gguf_name}' has no place in a {file.architecture} checkpoint",
        remedy=OTHER_SOURCE,
    )


def weights_dtype(file: GgufFile) -> str:
    """Return the dtype that the checkpoint gets; see the module's text for why."""
    types = {tensor.type_name for tensor in file.tensors if len(tensor.shape) > 1}
    if types == {"BF16"}:
        return "bfloat16"
    if types == {"F32"} or any(_overflows(file, tensor) for tensor in file.tensors):
        return "float32"
    return "float16"


def write_weights(
    file: GgufFile, path: Path, *, dtype: str, report: Callable[[int, int], None]
) -> None:
    """Write all tensors, one in memory at a time; `report` is told how many are done."""
    header = _header(file, dtype)
    with path.open("wb") as output:
        output.write(struct.pack("<Q", len(header)))
        output.write(header)
        for done, tensor in enumerate(file.tensors, start=1):
            output.write(_as_bytes(_unpermuted(file, tensor), dtype))
            report(done, len(file.tensors))


def _overflows(file: GgufFile, tensor: GgufTensor) -> bool:
    """Say whether a tensor that is wider than float16 in the file has values beyond it."""
    if tensor.type_name not in ("F32", "BF16"):
        return False
    return bool(abs(file.dequantized(tensor)).max(initial=0) > FLOAT16_MAX)


def _header(file: GgufFile, dtype: str) -> bytes:
    """Return the safetensors header of all tensors, in the file's order."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in file.tensors:
        start, end = end, end + prod(tensor.shape) * ITEM_SIZES[dtype]
        entries[checkpoint_name(file, tensor.name)] = {
            "dtype": FORMAT_NAMES[dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % ALIGNMENT)


def _unpermuted(file: GgufFile, tensor: GgufTensor) -> Any:
    """Return the values with the rows of q and k in the order that transformers rotates them.

    llama.cpp pairs neighbouring rows of a head, transformers the two halves of a head.
    """
    values = file.dequantized(tensor)
    which = re.search(r"\.attn_(q|k)\.", tensor.name)
    if which is None or not architecture_of(file).permuted:
        return values
    heads = int(file.require(f"{file.architecture}.attention.head_count"))
    if which[1] == "k":
        heads = int(file.fact("attention.head_count_kv", heads))
    paired = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return paired.swapaxes(1, 2).reshape(values.shape)


def _as_bytes(values: Any, dtype: str) -> bytes:
    import numpy as np

    if dtype == "bfloat16":
        # Exact: the values came from bfloat16, so the lower half of each float32 is zero.
        return bytes((np.ascontiguousarray(values).view(np.uint32) >> 16).astype("<u2").tobytes())
    return bytes(values.astype("<f2" if dtype == "float16" else "<f4").tobytes())
