"""What a model on the CPU says of given tokens: the IR by itself, and through GenAI's batching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.ir import IR_XML, model_inputs
from ovrecipe.errors import foreign_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

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
    import openvino

    with foreign_errors(f"opening {IR_XML}"):
        compiled = openvino.Core().compile_model(model_dir / IR_XML, "CPU", dict(properties))
    names = {name for port in compiled.inputs for name in port.names}
    request = compiled.create_infer_request()
    for row in rows:
        with foreign_errors(f"running {IR_XML}"):
            request.reset_state()
            request.infer(model_inputs([row], names))
            yield request.get_tensor("logits").data[0]


def paged_log_probabilities(
    model_dir: Path, rows: NDArray[np.int64], properties: Mapping[str, str] = EXACTLY
) -> NDArray[np.float32]:
    """Return the log-probability of each token but a row's first, through paged attention.

    GenAI says it of a prompt that it is told to echo; what it returns for the first token has no
    meaning. Shape (rows, length - 1).

    Raises:
        StageError: GenAI cannot open or run the model with paged attention.
    """
    import numpy as np

    with foreign_errors("running the model with paged attention"):
        found = list(_echoed(model_dir, rows, properties))
    return np.asarray(found, np.float32)


def _echoed(
    model_dir: Path, rows: NDArray[np.int64], properties: Mapping[str, str]
) -> Iterator[list[float]]:
    from openvino import Tensor
    from openvino_genai import ContinuousBatchingPipeline, GenerationConfig, SchedulerConfig

    pipeline: Any = ContinuousBatchingPipeline(
        model_dir, SchedulerConfig(), "CPU", dict(properties)
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
