"""The compressor `fp16`: every f32 and bf16 constant of the base IR becomes f16."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.ir import read_ir, save_ir, weight_facts
from ovrecipe.errors import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy import ndarray

    from ovrecipe.hooks.roles import CompressionJob
    from ovrecipe.types import Json


#: Elements converted at a time: 64 MB of bf16 and its f32 and f16 copies.
CHUNK = 32 * 2**20
#: The largest finite f16; what lies beyond is clipped, as OpenVINO clips f32.
LARGEST = 65504.0


class Fp16Compressor:
    """Writes the variant `fp16`: half the memory at load of an f32 IR, and plain to compare with.

    OpenVINO's own conversion handles f32 and leaves bf16 alone, so bf16 is converted here. Both
    have 16 bits: the converted weights lie in a scratch file beside the output and are mapped
    from there, so memory does not grow with the model.
    """

    packages = ("openvino",)
    version = 1
    needs_torch = False
    knobs: tuple[str, ...] = ()

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write the IR in f16; facts say how many weights were clipped to f16's range."""
        job.progress("reading the base IR")
        model = read_ir(job.input_dir)
        scratch = job.output_dir / "bf16.scratch"
        clipped = 0
        with foreign_errors("converting bf16 weights"):
            for number, node in enumerate(found := list(_bf16_constants(model)), start=1):
                clipped += _replace(node, scratch)
                job.progress("converting bf16 to f16", done=number, total=len(found))
        job.progress("writing f16")
        save_ir(model, job.output_dir, source_dir=job.input_dir, to_fp16=True)
        scratch.unlink(missing_ok=True)
        facts = weight_facts(read_ir(job.output_dir))
        return facts if not clipped else {**facts, "warning": _clipped_warning(clipped)}


def _clipped_warning(clipped: int) -> str:
    return (
        f"{clipped} bf16 weights lie outside the range of f16 and were clipped to "
        f"{LARGEST:.0f}; compare the answers with those of another variant"
    )


def _bf16_constants(model: Any) -> Iterator[Any]:
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "bf16":
            yield node


def _replace(node: Any, scratch: Path) -> int:
    """Put an f16 constant in the place of a bf16 one; return how many values were clipped."""
    import openvino as ov

    converted, clipped = _converted(node.get_tensor_view(), scratch)
    constant = ov.op.Constant(converted, shared_memory=True)
    constant.set_friendly_name(node.get_friendly_name())
    ov.utils.replace_node(node, constant)
    return clipped


def _converted(tensor: Any, scratch: Path) -> tuple[ndarray[Any, Any], int]:
    """Return a tensor's bf16 values as f16, mapped from the end of the scratch file."""
    import numpy as np

    bits = tensor.data.view(np.uint16).reshape(-1)
    offset = scratch.stat().st_size if scratch.exists() else 0
    clipped = 0
    with scratch.open("ab") as stream:
        for start in range(0, bits.size, CHUNK):
            # bf16 is the upper half of f32.
            wide = (bits[start : start + CHUNK].astype(np.uint32) << 16).view(np.float32)
            clipped += int(np.count_nonzero(np.abs(wide) > LARGEST))
            np.clip(wide, -LARGEST, LARGEST).astype(np.float16).tofile(stream)
    shape = tuple(int(each) for each in tensor.shape)
    return np.memmap(scratch, np.float16, "r+", offset, shape), clipped
