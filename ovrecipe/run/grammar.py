"""Grammars that answers must keep, and how one that is wrong is found out in time.

GenAI compiles a grammar within a step, and one that it cannot compile ends the pipeline for all.
So each is compiled before, for a model of one layer without weights that has the same tokenizer and
vocabulary: what ends a `generate` of that one costs nobody anything.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ovrecipe.errors import GenerationParameterRefused

#: What is remembered of the last grammars: whether each is fine, and if not why.
MOST_REMEMBERED = 512
#: Larger ones take the compiler longer than anybody wants to wait, in characters.
LARGEST = 64_000
#: The width of the small model; GenAI wants heads of a certain size.
WIDTH = 32


@dataclass(frozen=True)
class Grammar:
    """What an answer must match."""

    kind: Literal["json_schema", "regex", "grammar"]
    text: str

    @classmethod
    def of_schema(cls, schema: Any) -> Grammar:
        """Return the grammar of a JSON schema, which is given as JSON."""
        return cls("json_schema", json.dumps(schema))


class GrammarCheck:
    """Compiles grammars for a model's tokenizer; safe from any thread, loaded when first used."""

    def __init__(self, model_dir: Path, tokenizer: Any) -> None:
        self._model_dir = model_dir
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._small: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._known: dict[Grammar, str | None] = {}

    def checked(self, grammar: Grammar) -> Any:
        """Return what GenAI takes for a grammar that it can compile.

        Raises:
            GenerationParameterRefused: it cannot, or the grammar is too large.
        """
        from openvino_genai import StructuredOutputConfig

        if len(grammar.text) > LARGEST:
            raise GenerationParameterRefused(
                f"{grammar.kind}: has {len(grammar.text)} characters, more than {LARGEST}"
            )
        config = StructuredOutputConfig()
        setattr(config, grammar.kind, grammar.text)
        with self._lock:
            if grammar not in self._known:
                while len(self._known) >= MOST_REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[grammar] = self._problem(config)
            problem = self._known[grammar]
        if problem is not None:
            raise GenerationParameterRefused(f"{grammar.kind}: is none that GenAI takes: {problem}")
        return config

    def close(self) -> None:
        """Let go of the small model."""
        with self._lock:
            self._small = self._tokenizer = None
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def _problem(self, config: Any) -> str | None:
        from numpy import zeros
        from openvino import Tensor
        from openvino_genai import GenerationConfig

        from ovrecipe.run.genai import last_line

        if self._small is None:
            self._small = self._loaded()
        asked = GenerationConfig()
        asked.max_new_tokens = 1
        asked.structured_output_config = config
        try:
            self._small.generate([Tensor(zeros((1, 1), "int64"))], [asked])
        except RuntimeError as exc:
            # Before it stands a place in somebody's source.
            return re.sub(r"^.*\.(cc|cpp|h):\d+: ", "", last_line(exc))
        return None

    def _loaded(self) -> Any:
        from openvino import Core, save_model
        from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

        shape = Core().read_model(self._model_dir / "openvino_model.xml").output("logits")
        vocabulary = shape.partial_shape[-1].get_length()
        self._folder = tempfile.TemporaryDirectory(prefix="ovrecipe-grammar-")
        folder = Path(self._folder.name)
        save_model(small_model(vocabulary), folder / "openvino_model.xml")
        (folder / "config.json").write_text("{}", encoding="utf-8")
        scheduler = SchedulerConfig()
        scheduler.num_kv_blocks = 4
        return ContinuousBatchingPipeline(folder, self._tokenizer, scheduler, "CPU")


def small_model(vocabulary: int) -> Any:
    """Return a language model of one layer that says anything, as GenAI wants them to be built.

    Source: the patterns that OpenVINO's SDPAToPagedAttention looks for, 2026.4.
    """
    import numpy as np
    from openvino import Model, PartialShape, Type
    from openvino import opset13 as ops
    from openvino.op.util import Variable, VariableInfo

    def parameter(name: str, dimensions: int, kind: type) -> Any:
        made = ops.parameter([-1] * dimensions, kind, name=name)
        made.output(0).tensor.set_names({name})
        return made

    def heads(values: Any) -> Any:
        projected = ops.matmul(values, ops.constant(np.eye(WIDTH, dtype="float32")), False, True)
        split = ops.reshape(projected, ops.constant([0, 0, 1, WIDTH]), special_zero=True)
        return ops.transpose(split, ops.constant([0, 2, 1, 3]))

    def remembered(values: Any, name: str) -> Any:
        info = VariableInfo()
        info.data_shape, info.data_type = PartialShape([-1, 1, -1, WIDTH]), Type.f32
        info.variable_id = name
        variable = Variable(info)
        empty = ops.concat([batch, ops.constant(np.array([1, 0, WIDTH]))], 0)
        before = ops.read_value(ops.broadcast(ops.constant(np.float32(0)), empty), variable)
        whole = ops.concat([ops.gather(before, beam_idx, ops.constant(0)), values], 2)
        sinks.append(ops.assign(whole, variable))
        return whole

    sinks: list[Any] = []
    input_ids = parameter("input_ids", 2, np.int64)
    attention_mask = parameter("attention_mask", 2, np.int64)
    position_ids = parameter("position_ids", 2, np.int64)
    beam_idx = parameter("beam_idx", 1, np.int32)
    batch = ops.gather(ops.shape_of(input_ids), ops.constant([0]), ops.constant(0))
    table = ops.constant(np.zeros((vocabulary, WIDTH), "float32"))
    places = ops.unsqueeze(ops.convert(position_ids, "f32"), ops.constant(2))
    hidden = ops.add(ops.gather(table, input_ids, ops.constant(0)), places)
    keys = remembered(heads(hidden), "past_key_values.0.keypresent.0.key")
    values = remembered(heads(hidden), "past_key_values.0.valuepresent.0.value")
    mask = ops.unsqueeze(ops.convert(attention_mask, "f32"), ops.constant(np.array([1, 2])))
    seen = ops.scaled_dot_product_attention(heads(hidden), keys, values, mask, causal=False)
    joined = ops.reshape(
        ops.transpose(seen, ops.constant([0, 2, 1, 3])),
        ops.constant([0, 0, WIDTH]),
        special_zero=True,
    )
    logits = ops.matmul(ops.add(joined, hidden), table, False, True)
    logits.output(0).tensor.set_names({"logits"})
    inputs = [input_ids, attention_mask, position_ids, beam_idx]
    return Model([ops.result(logits, name="logits")], sinks, inputs, "small")
