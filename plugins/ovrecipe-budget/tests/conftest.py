"""A tiny language model, made on the spot, and jobs on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovrecipe_budget.options import Options

from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.testing import compression_job

VOCABULARY, WIDTH, HIDDEN = 256, 64, 128


def tiny_model(*, seed: int = 0, extra_input: str | None = None) -> Any:
    """Return a model with four matrices: a tied embedding, `up`, `down` and a transposed one."""
    import openvino as ov
    import openvino.opset13 as ops

    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> Any:
        values = random.standard_normal(shape).astype(np.float16) / np.float16(np.sqrt(shape[-1]))
        constant = ops.constant(values, name=name)
        return ops.convert(constant, ov.Type.f32)

    def matmul(given: Any, matrix: Any, name: str, *, transpose_b: bool = True) -> Any:
        return ops.matmul(given, matrix, False, transpose_b, name=name)

    names = ["input_ids", "attention_mask", "position_ids", *([extra_input] if extra_input else [])]
    inputs = [ops.parameter([-1, -1], ov.Type.i64, name=name) for name in names]
    for given in inputs:
        given.output(0).set_names({given.get_friendly_name()})
    embedding = weight("embedding.weight", VOCABULARY, WIDTH)
    embedded = ops.gather(embedding, inputs[0], 0, name="embedding")
    up = ops.relu(matmul(embedded, weight("up.weight", HIDDEN, WIDTH), "up"))
    mlp = ops.add(embedded, matmul(up, weight("down.weight", WIDTH, HIDDEN), "down"))
    turned = weight("turned.weight", WIDTH, WIDTH)
    mixed = ops.add(mlp, matmul(mlp, turned, "turned", transpose_b=False))
    logits = matmul(mixed, embedding, "head")
    logits.output(0).set_names({"logits"})
    return ov.Model([logits], inputs, "tiny")


def saved(model: Any, folder: Path) -> Path:
    """Write a model as a base IR."""
    import openvino as ov

    folder.mkdir(parents=True)
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's base IR."""
    return saved(tiny_model(), tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture
def job_of(base_dir: Path, tmp_path: Path) -> Callable[..., CompressionJob]:
    """Make a job with the options of a budget; all jobs of a test share one cache."""

    def make(name: str = "out", **fields: Any) -> CompressionJob:
        options = {name: fields.pop(name) for name in Options.model_fields if name in fields}
        output_dir = tmp_path / name
        output_dir.mkdir()
        given = {"cache_dir": tmp_path / "cache", "compressor": "budget", "options": options}
        given["options_model"] = Options
        return compression_job(base_dir, output_dir, **{**given, **fields})

    return make
