"""The compressor `fp16`: every f32 and bf16 constant of the base IR becomes f16."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from ovrecipe.builtin.ir import SMALL_FILES_BYTES, read_ir, save_ir, vector_bytes, weight_facts
from ovrecipe.errors import foreign_errors
from ovrecipe.hooks.roles import CompressionJob, Estimate, WeightShape
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.types import Json

#: Elements converted at a time: 64 MB of bf16 and its f32 and f16 copies.
CHUNK = 32 * 2**20
#: Peak anonymous memory, measured: 0.07 GB with SmolLM2-135M (f16), 0.45 GB with a 1.01-billion
#: Llama (bf16).
PEAK_BYTES = 500_000_000
#: The largest finite f16; what lies beyond is clipped, as OpenVINO clips f32.
LARGEST = 65504.0


class Fp16Compressor:
    """Writes the variant `fp16`: half the memory at load of an f32 IR, and plain to compare with.

    OpenVINO's own conversion handles f32 and leaves bf16 alone, so bf16 is converted here. Both
    have 16 bits: the converted weights lie in a scratch file beside the output and are mapped
    from there, so memory does not grow with the model.
    """

    packages = ("openvino",)
    needs_torch = False
    #: An fp16 variant is not compressed.
    knobs: tuple[str, ...] = ()

    def estimate(
        self,
        compression: CompressionPass,  # noqa: ARG002
        precision: str,  # noqa: ARG002
        tensors: Sequence[WeightShape],
    ) -> Estimate:
        """Return what it takes; the scratch file of bf16 weights is as large as the result."""
        size = vector_bytes(tensors)
        for tensor in tensors:
            copies = [len(tensor.shape) > 1, tensor.dtype == "bf16"].count(True)
            size += 2 * prod(tensor.shape) * copies
        return Estimate(size + SMALL_FILES_BYTES, PEAK_BYTES)

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write the IR in f16; facts say how many weights were clipped to f16's range."""
        job.progress("reading the base IR")
        model = read_ir(job.input_dir)
        scratch = job.output_dir / "bf16.scratch"
        nodes = (node for node in model.get_ordered_ops() if node.get_type_name() == "Constant")
        constants = [node for node in nodes if node.get_element_type().get_type_name() == "bf16"]
        clipped = 0
        with foreign_errors("converting bf16 weights"):
            for number, node in enumerate(constants, start=1):
                clipped += _replace(node, scratch)
                job.progress("converting bf16 to f16", done=number, total=len(constants))
            _narrow(model)
        job.progress("writing f16")
        save_ir(model, job.output_dir, source_dir=job.input_dir, to_fp16=True)
        scratch.unlink(missing_ok=True)
        facts = weight_facts(read_ir(job.output_dir))
        if clipped:
            facts["warning"] = (
                f"{clipped} bf16 weights lie outside the range of f16 and were clipped to "
                f"{LARGEST:.0f}; compare the answers with those of another variant"
            )
        return facts


def _narrow(model: Any) -> None:
    """Let the graph turn numbers into f16 where it turned them into bf16, as beside ALiBi's slopes.

    What they meet there are constants, which are f16 by now.
    """
    import openvino as ov
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.get_element_type() == ov.Type.bf16:
            narrow = opset13.convert(node.input_value(0), "f16")
            narrow.set_friendly_name(node.get_friendly_name())
            ov.utils.replace_node(node, narrow)


def _replace(node: Any, scratch: Path) -> int:
    """Put an f16 constant in the place of a bf16 one; return how many values were clipped.

    Its values are mapped from the end of the scratch file.
    """
    import numpy as np
    import openvino as ov

    tensor = node.get_tensor_view()
    bits = tensor.data.view(np.uint16).reshape(-1)
    offset = scratch.stat().st_size if scratch.exists() else 0
    clipped = 0
    with scratch.open("ab") as stream:
        for start in range(0, bits.size, CHUNK):
            # bf16 is the upper half of f32.
            wide = (bits[start : start + CHUNK].astype(np.uint32) << 16).view(np.float32)
            clipped += int(np.count_nonzero(np.abs(wide) > LARGEST))
            np.clip(wide, -LARGEST, LARGEST).astype(np.float16).tofile(stream)
    converted = np.memmap(scratch, np.float16, "r+", offset, tuple(map(int, tensor.shape)))
    constant = ov.op.Constant(converted, shared_memory=True)
    constant.set_friendly_name(node.get_friendly_name())
    ov.utils.replace_node(node, constant)
    return clipped
