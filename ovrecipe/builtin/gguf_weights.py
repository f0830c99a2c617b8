"""From GGUF tensors to model.safetensors.

The checkpoint is written in float16: a quantized GGUF holds its scales in float16, so float16
values lie within half a float16 step of the exact ones (the quantization itself moved them a
hundred times further), and the base IR, which keeps the checkpoint's dtype, needs half the room.
A file whose matrices are all BF16 or all F32 keeps that type, and one value too large for
float16 makes the whole checkpoint float32.
"""

import json
import re
from pathlib import Path
from typing import Any

from ovrecipe.builtin.gguf_file import GgufFile
from ovrecipe.types import Progress

#: The names of dtypes in safetensors files, and how numpy writes them.
FORMATS = {"float16": ("F16", "<f2"), "bfloat16": ("BF16", "<u2"), "float32": ("F32", "<f4")}
ALIGNMENT = 8
#: Tensor names of llama.cpp and transformers; those of a layer are prefixed on both sides.
MODEL_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
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


def weights_dtype(file: GgufFile) -> str:
    """Return the dtype that the checkpoint gets; see the module's text for why."""
    tensors = file.tensors.values()
    types = {tensor.tensor_type.name for tensor in tensors if len(tensor.shape) > 1}
    if types == {"BF16"}:
        return "bfloat16"
    # The other types hold nothing that is wider than float16.
    wide = (tensor for tensor in tensors if tensor.tensor_type.name in ("F32", "BF16"))
    if types == {"F32"} or any(
        abs(file.dequantized(tensor)).max(initial=0) > FLOAT16_MAX for tensor in wide
    ):
        return "float32"
    return "float16"


def write_weights(file: GgufFile, path: Path, *, dtype: str, progress: Progress) -> None:
    """Write all tensors, one in memory at a time.

    Raises:
        CheckpointIncomplete: a tensor's name or type is unknown, so a part would be lost.
    """
    header = _header(file, dtype)
    with path.open("wb") as output:
        output.write(len(header).to_bytes(8, "little") + header)
        for done, tensor in enumerate(file.tensors.values(), start=1):
            output.write(_as_bytes(_unpermuted(file, tensor), dtype))
            progress("dequantizing", done=done, total=len(file.tensors))


def _header(file: GgufFile, dtype: str) -> bytes:
    """Return the safetensors header of all tensors, in the file's order."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    format_name, item_type = FORMATS[dtype]
    end = 0
    for name, tensor in file.tensors.items():
        start, end = end, end + tensor.n_elements * int(item_type[-1])
        entries[_checkpoint_name(file, name)] = {
            "dtype": format_name,
            "shape": tensor.shape[::-1].tolist(),
            "data_offsets": [start, end],
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % ALIGNMENT)


def _checkpoint_name(file: GgufFile, gguf_name: str) -> str:
    """Return what transformers calls a tensor."""
    stem, _, kind = gguf_name.rpartition(".")
    layer = LAYER_TENSOR.fullmatch(stem)
    if layer is not None and layer[2] in LAYER_NAMES:
        return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}.{kind}"
    if stem in MODEL_NAMES:
        return f"{MODEL_NAMES[stem]}.{kind}"
    raise file.refusal(f"tensor '{gguf_name}' has no place in a {file.architecture} checkpoint")


def _unpermuted(file: GgufFile, tensor: Any) -> Any:
    """Return the values with the rows of q and k in the order that transformers rotates them.

    For Llama, llama.cpp pairs neighbouring rows of a head, transformers its two halves.
    """
    values = file.dequantized(tensor)
    which = re.search(r"\.attn_(q|k)\.", tensor.name)
    if which is None or file.architecture != "llama":
        return values
    heads = int(file.needed("llama.attention.head_count"))
    if which[1] == "k":
        heads = int(file.fact("attention.head_count_kv", heads))
    paired = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return paired.swapaxes(1, 2).reshape(values.shape)


def _as_bytes(values: Any, dtype: str) -> bytes:
    import numpy as np

    if dtype == "bfloat16":
        # Exact: the values came from bfloat16, so the lower half of each float32 is zero.
        values = np.ascontiguousarray(values).view(np.uint32) >> 16
    return bytes(values.astype(FORMATS[dtype][1]).tobytes())
