"""The form of an answer, tried by GenAI's compiler before a model is loaded.

GenAI compiles a form only when a request runs, and has no other door to its compiler. So a model
without weights runs one, with the artifact's own tokenizer: it takes 0.3 s, whatever the real one
is.
"""

from __future__ import annotations

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


def check_form(form: Mapping[str, Any], model_dir: Path) -> None:
    """Let GenAI compile a form as it will when the model of that directory answers.

    Raises:
        GenerationParameterRefused: it does not compile, or no token may come first.
    """
    from openvino import Tensor
    from openvino_genai import GenerationConfig, LLMPipeline, Tokenizer

    [name] = form
    tokenizer = Tokenizer(model_dir)
    eos = int(tokenizer.get_eos_token_id())
    config = GenerationConfig(
        max_new_tokens=TRIED_TOKENS, eos_token_id=eos, apply_chat_template=False
    )
    with TemporaryDirectory() as folder:
        write_blank_model(Path(folder), len(tokenizer.get_vocab()), eos)
        blank: Any = LLMPipeline(folder, tokenizer, "CPU", ATTENTION_BACKEND="SDPA")
    try:
        answer = blank.generate(Tensor([[eos]]), apply(form, config)).tokens[0]
    except RuntimeError as exc:
        if not is_of_a_form(exc):
            raise
        raise form_refused(name, exc) from exc
    # Where every token is forbidden GenAI writes the first of the vocabulary, for ever.
    if answer == [0] * TRIED_TOKENS:
        raise GenerationParameterRefused(f"{name}: no text can satisfy it")


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
