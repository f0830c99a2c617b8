"""The compressor `fp16` on graphs of a few nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from ovrecipe.builtin.fp16 import Fp16Compressor
from ovrecipe.builtin.ir import read_ir, save_ir
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import CompressionPass


def base_with_a_cast(folder: Path) -> Path:
    """Write a graph that turns positions into bf16 and multiplies them by a bf16 constant."""
    folder.mkdir()
    positions = opset13.parameter([-1], np.float32, name="positions")
    slopes = opset13.convert(opset13.constant(np.array([0.5, 0.25], np.float32)), "bf16")
    cast = opset13.convert(positions, "bf16")
    widened = opset13.convert(opset13.multiply(cast, slopes), "f32")
    model = ov.Model([opset13.result(widened)], [positions])
    save_ir(model, folder, source_dir=folder.parent)
    return folder


def test_a_cast_to_bfloat16_becomes_one_to_float16(tmp_path: Path) -> None:
    """Falcon with ALiBi has one beside its slopes, and no fp16 variant of it could be written."""
    base_dir, output_dir = base_with_a_cast(tmp_path / "base"), tmp_path / "fp16"
    output_dir.mkdir()
    job = CompressionJob(
        input_dir=base_dir,
        base_dir=base_dir,
        output_dir=output_dir,
        recipe=sample_recipe(),
        compression=CompressionPass(),
        precision="fp16",
    )
    Fp16Compressor().compress(job)
    compiled = ov.Core().compile_model(read_ir(output_dir), "CPU")
    assert [*compiled(np.array([2.0, 4.0], np.float32))[0]] == [1.0, 1.0]
    kinds = {node.get_element_type().get_type_name() for node in read_ir(output_dir).get_ops()}
    assert "bf16" not in kinds
