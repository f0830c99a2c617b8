"""The form of an answer, tried by GenAI's compiler before a model is loaded.

GenAI compiles a form only when a request runs, and has no other door to its compiler. So a model
without weights runs one, with the artifact's own tokenizer: it takes 0.3 s, whatever the real one
is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.run.parameters import apply
from ovrecipe.wording import last_line

#: Where the compiler's errors come from, in their text.
COMPILER = "xgrammar-src"
#: So many tokens the blank model writes; what ends in nothing has not ended by then.
TRIED_TOKENS = 4
#: Of so many forms is remembered what came of them.
MOST_REMEMBERED = 512


def is_of_a_form(error: BaseException) -> bool:
    """Return whether GenAI's error is of the compiler of forms."""
    return COMPILER in str(error)


def form_refused(name: str, error: BaseException) -> GenerationParameterRefused:
    """Return the error of a form that does not compile, in the compiler's words."""
    # A place in its source comes first.
    said = last_line(error).rpartition(".cc:")[2]
    reason = said.partition(": ")[2] or said
    return GenerationParameterRefused(
        f"{name}: does not compile: {reason.strip()}",
        remedy="a regex has no lookaround, backreference or \\b, a grammar is EBNF with a rule "
        "'root'; docs/running.md has examples",
    )


class FormCheck:
    """Lets GenAI compile forms as it will when the model of a directory answers; from any thread.

    What came of each of the last ones is remembered.
    """

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self._lock = threading.Lock()
        self._blank: Any = None
        self._eos = 0
        self._known: dict[str, GenerationParameterRefused | None] = {}

    def check(self, form: Mapping[str, Any]) -> None:
        """Refuse a form that does not compile, or that no text can satisfy.

        Raises:
            GenerationParameterRefused: in the compiler's words.
        """
        asked = json.dumps(form, sort_keys=True)
        with self._lock:
            if asked not in self._known:
                while len(self._known) >= MOST_REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[asked] = self._problem(form)
            problem = self._known[asked]
        if problem is not None:
            raise GenerationParameterRefused(problem.message, remedy=problem.remedy)

    def _problem(self, form: Mapping[str, Any]) -> GenerationParameterRefused | None:
        from openvino import Tensor
        from openvino_genai import GenerationConfig

        [name] = form
        if self._blank is None:
            self._blank, self._eos = self._loaded()
        config = GenerationConfig(
            max_new_tokens=TRIED_TOKENS, eos_token_id=self._eos, apply_chat_template=False
        )
        try:
            answer = self._blank.generate(Tensor([[self._eos]]), apply(form, config)).tokens[0]
        except RuntimeError as exc:
            # Nobody says what state it is left in.
            self._blank = None
            if not is_of_a_form(exc):
                raise
            return form_refused(name, exc)
        # Where every token is forbidden GenAI writes the first of the vocabulary, for ever.
        if answer == [0] * TRIED_TOKENS:
            return GenerationParameterRefused(f"{name}: no text can satisfy it")
        return None

    def _loaded(self) -> tuple[Any, int]:
        from openvino_genai import LLMPipeline, Tokenizer

        tokenizer = Tokenizer(self._model_dir)
        eos = int(tokenizer.get_eos_token_id())
        with TemporaryDirectory() as folder:
            write_blank_model(Path(folder), len(tokenizer.get_vocab()), eos)
            return LLMPipeline(folder, tokenizer, "CPU", ATTENTION_BACKEND="SDPA"), eos


def write_blank_model(folder: Path, vocabulary: int, eos: int) -> None:
    """Write the IR of a model that likes EOS best and token 0 least, whatever it reads."""
    import numpy as np
    from openvino import Model, PartialShape, Type, save_model
    from openvino import opset13 as ops
    from openvino.op.util import Variable, VariableInfo

    def read(name: str, shape: list[int], kind: Any) -> Any:
        found = ops.parameter(shape, kind, name)
        found.output(0).get_tensor().set_names({name})
        return found

    inputs = [read(name, [-1, -1], np.int64) for name in ("input_ids", "attention_mask")]
    inputs += [read("position_ids", [-1, -1], np.int64), read("beam_idx", [-1], np.int32)]
    tokens, beams = inputs[0], inputs[-1]
    row = np.zeros((1, 1, vocabulary), np.float32)
    row[..., 0], row[..., eos] = -1, 1
    shape = ops.concat([ops.shape_of(tokens), ops.constant(np.array([vocabulary]))], 0)
    logits = ops.broadcast(ops.constant(row), shape)
    logits.output(0).get_tensor().set_names({"logits"})
    # A cache like that of a real model, for GenAI looks for one: (batch, 1, length, 1).
    info = VariableInfo()
    info.data_shape, info.data_type = PartialShape([-1, 1, -1, 1]), Type.f32
    info.variable_id = "past"
    cache, axis = Variable(info), ops.constant(np.array(0))
    batch = ops.gather(ops.shape_of(tokens), ops.constant(np.array([0])), axis)
    empty = ops.broadcast(
        ops.constant(np.zeros((1, 1, 0, 1), np.float32)),
        ops.concat([batch, ops.constant(np.array([1, 0, 1]))], 0),
    )
    before = ops.gather(ops.read_value(empty, cache), beams, axis)
    new = ops.convert(ops.unsqueeze(tokens, ops.constant(np.array([1, 3]))), "f32")
    kept = ops.assign(ops.concat([before, new], 2), cache)
    model = Model([logits.output(0)], [kept], inputs)
    save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
