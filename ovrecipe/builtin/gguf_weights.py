"""From GGUF tensors to model.safetensors.

Which tensors a checkpoint has, and of what shapes, says `gguf_state`; what llama.cpp calls them
says the gguf package; how values are turned back into transformers' form say transformers'
`TENSOR_PROCESSORS`. A tensor too many or too few is refused before anything is written.

The checkpoint is written in float16: a quantized GGUF holds its scales in float16, so float16
values lie within half a float16 step of the exact ones (the quantization itself moved them a
hundred times further), and the base IR, which keeps the checkpoint's dtype, needs half the room.
A file whose matrices are all BF16 or all F32 keeps that type (norms, which llama.cpp stores as F32,
are then rounded to bfloat16), and one value too large for float16 makes the whole checkpoint
float32.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ovrecipe.builtin.gguf_file import GgufFile
from ovrecipe.builtin.gguf_rope import TENSORS as ROPE_TENSORS
from ovrecipe.builtin.gguf_state import state_of
from ovrecipe.types import Progress

#: The names of dtypes in safetensors files, and how numpy writes them.
FORMATS = {"float16": ("F16", "<f2"), "bfloat16": ("BF16", "<u2"), "float32": ("F32", "<f4")}
ALIGNMENT = 8
FLOAT16_MAX = 65504.0


@dataclass(frozen=True)
class Placed:
    """Where a GGUF tensor goes: one name, or the names of all experts that it holds."""

    names: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """The shape of all experts together, or of the one tensor."""
        return (len(self.names), *self.shape) if len(self.names) > 1 else self.shape

    def holds(self, shape: Iterable[int]) -> bool:
        """Say whether a tensor fits, turned over or with dimensions of one left out."""
        return sorted(n for n in shape if n != 1) == sorted(n for n in self.whole_shape if n != 1)


def weights_dtype(file: GgufFile) -> str:
    """Return the dtype that the checkpoint gets; see the module's text for why."""
    file.check_types()
    tensors = file.tensors.values()
    types = {tensor.tensor_type.name for tensor in tensors if len(tensor.shape) > 1}
    if types == {"BF16"}:
        return "bfloat16"
    # The other types have float16 scales and hold nothing wider.
    wide = (
        tensor for tensor in tensors if tensor.tensor_type.name in ("F32", "BF16", "MXFP4", "NVFP4")
    )
    if types == {"F32"} or any(
        abs(file.dequantized(tensor)).max(initial=0) > FLOAT16_MAX for tensor in wide
    ):
        return "float32"
    return "float16"


def placed_tensors(file: GgufFile, config: Mapping[str, Any]) -> dict[str, Placed]:
    """Return where each tensor goes, in the file's order.

    Raises:
        CheckpointIncomplete: a tensor is missing, has no place, or has another shape.
    """
    wanted, tied = _wanted(file, config)
    places = {}
    for name, tensor in file.tensors.items():
        if name in ROPE_TENSORS:
            continue
        if name not in wanted:
            raise file.refusal(
                f"tensor '{name}' has no place in a {config['model_type']} checkpoint"
            )
        place = wanted.pop(name)
        if not place.holds(tensor.shape.tolist()):
            found = " x ".join(map(str, tensor.shape[::-1]))
            expected = " x ".join(map(str, place.whole_shape))
            raise file.refusal(f"tensor '{name}' is {found} and should be {expected}")
        places[name] = place
    missing = [name for name, place in wanted.items() if not tied.intersection(place.names)]
    if missing:
        reason = f"{len(missing)} tensors are missing, {missing[0]} for one"
        raise file.refusal(reason, remedy="the file was made from a part of a model: take another")
    return places


def write_weights(
    file: GgufFile, path: Path, config: Mapping[str, Any], places: Mapping[str, Placed],
    progress: Progress,
) -> None:  # fmt: skip
    """Write all tensors, one in memory at a time, in the dtype that the config names."""
    processor = _processor(file, config)
    header = _header(places, config["dtype"])
    with path.open("wb") as output:
        output.write(len(header).to_bytes(8, "little") + header)
        for done, (name, place) in enumerate(places.items(), start=1):
            values = file.dequantized(file.tensors[name])
            # A processor may put a tensor aside under a name of its own: the names are ours.
            turned = processor.process(values, name, parsed_parameters={"tensors": {}}).weights
            if file.architecture == "falcon" and ".attn_qkv." in name:
                turned = _grouped(turned, config)
            if turned.shape != place.whole_shape:
                raise file.refusal(
                    f"tensor '{name}' became {turned.shape}, not {place.whole_shape}"
                )
            output.write(_as_bytes(turned, config["dtype"]))
            progress("dequantizing", done=done, total=len(places))


def _wanted(file: GgufFile, config: Mapping[str, Any]) -> tuple[dict[str, Placed], set[str]]:
    """Return by GGUF's names what a checkpoint has, and the names of those that are tied."""
    state = state_of(config)
    gguf_name = _namer(file, config)
    experts = state.experts
    wanted = {}
    for name, shape in state.shapes.items():
        if end := next((end for end in experts if name.endswith(end)), None):
            start = name.removesuffix(end)
            stacked = _stacked(shape, [start + part for part in experts[end]])
            layer = name.rpartition(".")[0]
            kinds = ("gate", "up") if len(stacked) == 2 else ("down",)
            for kind, place in zip(kinds, stacked, strict=True):
                wanted[gguf_name(f"{layer}.{kind}_proj") + ".weight"] = place
        else:
            wanted[gguf_name(name)] = Placed((name,), shape)
    return wanted, {*state.tied}


def _namer(file: GgufFile, config: Mapping[str, Any]) -> Callable[[str], str]:
    """Return what says llama.cpp's name of a tensor, from transformers' one."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    numbers = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(
        numbers[file.architecture], int(file.needed(f"{file.architecture}.block_count"))
    )
    processor = _processor(file, config)

    def gguf_name(name: str) -> str:
        stem, kind = name, ""
        if name.endswith((".weight", ".bias")):
            stem, _, kind = name.rpartition(".")
            kind = f".{kind}"
        # Some tables begin with the layers, without the name of what holds them.
        parts = stem.split(".")
        for start in range(len(parts)):
            if found := names.get_name(".".join(parts[start:])):
                return f"{found}{kind}"
        others: dict[str, str] = {}
        processor.perform_fallback_tensor_mapping(others, kind, "", name)
        return next(iter(others), f"(no GGUF name for {name})")

    return gguf_name


def _processor(file: GgufFile, config: Mapping[str, Any]) -> Any:
    """Return what knows how llama.cpp turned the values of an architecture."""
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    return TENSOR_PROCESSORS.get(file.architecture, TensorProcessor)(config=dict(config))


def _stacked(shape: tuple[int, ...], patterns: list[str]) -> list[Placed]:
    """Return the parts of a stacked tensor, (experts, rows of all parts, columns)."""
    count, rows, *rest = shape
    return [
        Placed(
            tuple(pattern.replace("*", str(number)) for number in range(count)),
            (rows // len(patterns), *rest),
        )
        for pattern in patterns
    ]


def _header(places: Mapping[str, Placed], dtype: str) -> bytes:
    """Return the safetensors header of all tensors, in the file's order."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    format_name, item_type = FORMATS[dtype]
    end = 0
    for place in places.values():
        for name in place.names:
            start, end = end, end + prod(place.shape) * int(item_type[-1])
            entries[name] = {
                "dtype": format_name,
                "shape": list(place.shape),
                "data_offsets": [start, end],
            }
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % ALIGNMENT)


def _grouped(values: Any, config: Mapping[str, Any]) -> Any:
    """Return Falcon's rows as each group of queries with its key and its value.

    llama.cpp has all queries, then all keys, then all values.
    """
    import numpy as np

    groups, heads = config["num_kv_heads"], config["num_attention_heads"]
    width = values.shape[0] // (heads + 2 * groups)
    queries, keys, found = np.split(values, [heads * width, (heads + groups) * width])
    parts = [part.reshape(groups, -1, *values.shape[1:]) for part in (queries, keys, found)]
    return np.concatenate(parts, axis=1).reshape(values.shape)


def _as_bytes(values: Any, dtype: str) -> bytes:
    import numpy as np

    if dtype == "bfloat16":
        # Exact for matrices, whose lower halves are zero; norms and biases may be more exact in the
        # file, and become the nearest value, of two the even one.
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        values = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return bytes(values.astype(FORMATS[dtype][1]).tobytes())
