"""What a model on the CPU says of given tokens: the IR by itself, and through GenAI's batching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.ir import IR_XML, StatefulModel
from ovrecipe.errors import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.measure.reference import AnswersTaken

#: Activations and KV cache as exact as the device has them: what differs then is the weights.
EXACTLY: Mapping[str, str] = {
    "EXECUTION_MODE_HINT": "ACCURACY",
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
}


def logits_of(
    model_dir: Path, rows: NDArray[np.int64], properties: Mapping[str, str] = EXACTLY
) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of each row of tokens, (length, vocabulary), by OpenVINO alone.

    Raises:
        StageError: OpenVINO cannot open or run the model.
    """
    with foreign_errors(f"opening {IR_XML}"):
        model = StatefulModel(model_dir, properties)
    for row in rows:
        with foreign_errors(f"running {IR_XML}"):
            model.forget()
            logits = model.logits([row])[0]
        yield logits


def answer(model_dir: Path, taken: AnswersTaken) -> None:
    """Let the IR itself answer, as exactly as it can: the reference where no exporter gave one.

    Raises:
        StageError: OpenVINO cannot open or run the model, or its logits are not finite.
    """
    with foreign_errors(f"running {IR_XML}"):
        model = StatefulModel(model_dir, EXACTLY)
        for prompt in taken.prompts:
            model.forget()
            tokens, new = list(prompt), list(prompt)
            for _ in range(taken.new_tokens):
                new = [int(model.logits([new])[0, -1].argmax())]
                tokens += new
            model.forget()
            taken.take(tokens, model.logits([tokens])[0])


def paged_log_probabilities(
    model_dir: Path,
    rows: NDArray[np.int64],
    properties: Mapping[str, str] = EXACTLY,
    *,
    tokenizer_dir: Path | None = None,
) -> NDArray[np.float32]:
    """Return the log-probability of each token but a row's first, through paged attention.

    GenAI says it of a prompt that it is told to echo; what it says of the first token has no
    meaning. Shape (rows, length - 1). `tokenizer_dir` is where the tokenizer is, if elsewhere.

    Raises:
        StageError: GenAI cannot open or run the model with paged attention.
    """
    import numpy as np

    with foreign_errors("running the model with paged attention"):
        found = list(_echoed(model_dir, tokenizer_dir or model_dir, rows, properties))
    return np.asarray(found, np.float32)


def _echoed(
    model_dir: Path, tokenizer_dir: Path, rows: NDArray[np.int64], properties: Mapping[str, str]
) -> Iterator[list[float]]:
    from openvino import Tensor
    from openvino_genai import (
        ContinuousBatchingPipeline,
        GenerationConfig,
        SchedulerConfig,
        Tokenizer,
    )

    pipeline: Any = ContinuousBatchingPipeline(
        model_dir, Tokenizer(tokenizer_dir), SchedulerConfig(), "CPU", **properties
    )
    config = GenerationConfig(
        max_new_tokens=1, echo=True, logprobs=1, do_sample=False, apply_chat_template=False
    )
    handles = [
        pipeline.add_request(number, Tensor(row[None].copy()), config)
        for number, row in enumerate(rows)
    ]
    while pipeline.has_non_finished_requests():
        pipeline.step()
    for handle, row in zip(handles, rows, strict=True):
        yield handle.read_all()[0].generated_log_probs[1 : len(row)]
