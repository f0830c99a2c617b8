"""Plugins that damage a model on purpose, as it has happened; loaded with `-p` by test_damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace as replace_fields
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.builtin.ir import read_ir, save_ir
from ovrecipe.builtin.tokenizer import OpenvinoTokenizerConverter
from ovrecipe.hooks.specs import hookimpl


def constants(model: Any, part: str) -> list[Any]:
    """Return the constants whose name has a part, in their order."""
    ops = [op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"]
    return [op for op in ops if part in op.get_friendly_name()]


def replace(node: Any, values: Any) -> None:
    """Put other values in the place of a constant's."""
    import openvino.opset13 as ops

    other = ops.constant(values, node.get_element_type(), name=node.get_friendly_name())
    for reader in list(node.output(0).get_target_inputs()):
        reader.replace_source_output(other.output(0))


def zeroed(model: Any) -> None:
    for scale in constants(model, "/scale")[::3]:
        replace(scale, scale.data * 0)


def perturbed(model: Any) -> None:
    random = np.random.default_rng(1)
    for scale in constants(model, "/scale"):
        replace(scale, (scale.data * random.uniform(0.2, 1.8, scale.data.shape)).astype("f2"))


def doubled(model: Any) -> None:
    for scale in constants(model, "/scale"):
        replace(scale, scale.data * 2)


def with_nan(model: Any) -> None:
    scale = constants(model, "/scale")[3]
    values = scale.data.copy()
    values.flat[0] = np.nan
    replace(scale, values)


def swapped(model: Any) -> None:
    """Exchange what the first two layers have of the same shape."""
    first = {op.get_friendly_name(): op for op in constants(model, "layers.0.")}
    for name, one in first.items():
        for other in constants(model, name.replace("layers.0.", "layers.1.")):
            values, others = one.data.copy(), other.data.copy()
            replace(one, others)
            replace(other, values)


DAMAGES: dict[str, Callable[[Any], None]] = {
    each.__name__: each for each in (zeroed, perturbed, doubled, with_nan, swapped)
}


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    how: str


class Damaging:
    """NNCF's INT4, and then damage."""

    options_model = Options

    def compress(self, job: Any) -> dict[str, Any]:
        import nncf

        model = read_ir(job.base_dir)
        if job.options.how == "swapped":
            swapped(model)
        made = nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=32, all_layers=True
        )
        if job.options.how not in {"swapped", "none"}:
            DAMAGES[job.options.how](made)
        save_ir(made, job.output_dir, source_dir=job.input_dir)
        for name in ("config.json", "generation_config.json"):
            if (job.input_dir / name).exists():
                (job.output_dir / name).write_bytes((job.input_dir / name).read_bytes())
        return {}


class WithoutPositions(OptimumExporter):
    """Exports a model to which every token stands at the first place."""

    def export(self, job: Any) -> None:
        import openvino.opset13 as ops

        super().export(job)
        model = read_ir(job.output_dir)
        positions = model.input("position_ids")
        readers = list(positions.get_target_inputs())
        first = ops.multiply(positions, ops.constant(0, np.int64))
        for reader in readers:
            reader.replace_source_output(first.output(0))
        whole_dir = job.output_dir.parent / "whole"
        job.output_dir.rename(whole_dir)
        job.output_dir.mkdir()
        save_ir(model, job.output_dir, source_dir=whole_dir)
        for name in ("config.json", "generation_config.json"):
            shutil.copyfile(whole_dir / name, job.output_dir / name)


class OtherTemplate(OpenvinoTokenizerConverter):
    """Leaves the end of each turn out."""

    def convert(self, job: Any) -> None:
        super().convert(job)
        path = job.output_dir / "chat_template.jinja"
        path.write_text(path.read_text().replace("{{ eos_token }}", ""))


class OtherTokenizer(OpenvinoTokenizerConverter):
    """Converts a tokenizer in which two tokens have each other's ids."""

    def convert(self, job: Any) -> None:
        other_dir = job.output_dir.parent / "other"
        shutil.copytree(job.checkpoint_dir, other_dir)
        path = other_dir / "tokenizer.json"
        document = json.loads(path.read_text())
        vocabulary = document["model"]["vocab"]
        one, other = [token for token in vocabulary if len(token) > 3][-2:]
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
        path.chmod(0o644)
        path.write_text(json.dumps(document))
        super().convert(replace_fields(job, checkpoint_dir=other_dir))


@hookimpl
def providers() -> dict[str, dict[str, Any]]:
    return {
        "compressor": {"damaging": Damaging},
        "exporter": {"without-positions": WithoutPositions},
        "tokenizer_converter": {"other-template": OtherTemplate, "other-tokenizer": OtherTokenizer},
    }
