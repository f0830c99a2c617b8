"""Language models of a few kilobytes: what follows a token depends on that token alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_bigrams(folder: Path, table: np.ndarray) -> Path:
    """Write an IR whose logits after token n are `table[n]`; return its folder."""
    import openvino as ov
    from openvino import opset13 as ops

    folder.mkdir(parents=True, exist_ok=True)
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    ids.output(0).set_names({"input_ids"})
    logits = ops.gather(ops.constant(table.astype(np.float32)), ids, ops.constant(0))
    logits.output(0).set_names({"logits"})
    model = ov.Model([ops.result(logits)], [ids], "bigrams")
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


def some_table(seed: int, vocabulary: int = 60) -> np.ndarray:
    """Return logits in which each token has a few likely successors."""
    return np.random.default_rng(seed).normal(0, 2, (vocabulary, vocabulary)).astype(np.float32)
