"""Language models of a few kilobytes: what follows depends on one token, or on the sum of all."""

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


def write_sums(folder: Path, table: np.ndarray) -> Path:
    """Write an IR with a state, as exported ones have: after tokens of sum n come `table[n]`."""
    import openvino as ov
    from openvino import opset13 as ops

    folder.mkdir(parents=True, exist_ok=True)
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    beams = ops.parameter([-1], np.int32, name="beam_idx")
    for port in (ids, beams):
        port.output(0).set_names({port.get_friendly_name()})
    rows = ops.gather(ops.shape_of(ids), ops.constant([0]), ops.constant(0))
    shape = ops.concat([rows, ops.constant([1], np.int64)], 0)
    nothing = ops.broadcast(ops.constant(0, np.float32), shape)
    state = ov.op.util.VariableInfo()
    state.data_shape, state.data_type, state.variable_id = (
        ov.PartialShape([-1, 1]),
        ov.Type.f32,
        "s",
    )
    variable = ov.op.util.Variable(state)
    past = ops.gather(ops.read_value(nothing, variable), beams, ops.constant(0))
    sums = ops.add(past, ops.cum_sum(ops.convert(ids, np.float32), ops.constant(1)))
    kept = ops.assign(ops.gather(sums, ops.constant([-1]), ops.constant(1)), variable)
    place = ops.convert(ops.mod(sums, ops.constant(len(table), np.float32)), np.int64)
    logits = ops.gather(ops.constant(table.astype(np.float32)), place, ops.constant(0))
    logits.output(0).set_names({"logits"})
    model = ov.Model([ops.result(logits)], [kept], [ids, beams], "sums")
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


def some_table(seed: int, vocabulary: int = 60) -> np.ndarray:
    """Return logits in which each token has a few likely successors."""
    return np.random.default_rng(seed).normal(0, 2, (vocabulary, vocabulary)).astype(np.float32)


def write_places(folder: Path, table: np.ndarray) -> Path:
    """Write an IR as Mamba's: right for one token at a time, with its own mask, in a full window.

    Else what would come last in `table` comes first.
    """
    import openvino as ov
    from openvino import opset13 as ops

    folder.mkdir(parents=True, exist_ok=True)
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    mask = ops.parameter([-1, -1], np.int64, name="attention_mask")
    place = ops.parameter([-1], np.int64, name="cache_position")
    for port in (ids, mask, place):
        port.output(0).set_names({port.get_friendly_name()})
    said = ops.gather(ops.constant(table.astype(np.float32)), ids, ops.constant(0))
    alone = ops.equal(ops.shape_of(ids), ops.shape_of(mask))
    alone = ops.logical_and(alone, ops.equal(ops.shape_of(mask), ops.constant([1, 1])))
    last = ops.equal(ops.clamp(place, 0, 3), ops.constant([3]))
    fits = ops.reduce_logical_and(ops.concat([alone, last], 0), ops.constant([0]))
    logits = ops.multiply(
        said, ops.select(fits, ops.constant(1, np.float32), ops.constant(-1, np.float32))
    )
    logits.output(0).set_names({"logits"})
    model = ov.Model([ops.result(logits)], [ids, mask, place], "places")
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder
