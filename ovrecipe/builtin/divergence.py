"""The evaluator `divergence`: how far a variant's next tokens are from those of its base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ovrecipe.builtin.ir import IR_XML, model_inputs
from ovrecipe.errors import GateError, foreign_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.hooks.roles import EvaluationJob
    from ovrecipe.types import Json

INSTRUCTIONS = (
    "What is the capital of France?",
    "Write three sentences about the sea.",
    "Write a Python function that reverses a list.",
)
#: Activations, KV cache and matrix products as exact as the device has them: what differs then
#: is the weights.
EXACTLY = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32"}


class DivergenceOptions(BaseModel):
    """The limit, and how much of each answer is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_mean_kl: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=32, ge=1, le=1024)


class DivergenceEvaluator:
    """Compares distributions along the answers that the base gives greedily.

    Both models read the same tokens, in one pass: the recipe's prompt around a few instructions,
    and the base's own answers. The divergence is Kullback and Leibler's, of the variant from the
    base, in nats, averaged over the tokens of the answers.
    """

    packages = ("openvino", "openvino-genai")
    version = 1
    options_model = DivergenceOptions

    def evaluate(self, job: EvaluationJob) -> dict[str, Json]:
        """Return the mean divergence and its standard error.

        Raises:
            GateError: the mean is above `max_mean_kl`.
            StageError: OpenVINO cannot run one of the two.
        """
        assert isinstance(job.options, DivergenceOptions), "validated before"
        with foreign_errors("measuring the divergence"):
            facts = _compared(job, job.options.max_new_tokens)
        limit = job.options.max_mean_kl
        # Written so that a divergence that is no number fails too.
        if limit is not None and not float(str(facts["mean_kl"])) <= limit:
            raise GateError(
                f"mean_kl is {facts['mean_kl']}, above max_mean_kl {limit}",
                remedy="compress less (a smaller group_size or ratio, awq), or raise the limit",
            )
        return facts


def _compared(job: EvaluationJob, max_new_tokens: int) -> dict[str, Json]:
    import numpy as np

    job.progress("asking the base")
    prompts, end = _tokens(job)
    base = _Model(job.base_dir)
    texts = [(prompt, base.answer(prompt, max_new_tokens, end)) for prompt in prompts]
    expected = [base.log_probabilities(*text) for text in texts]
    del base  # two models are never in memory
    job.progress("comparing with the base")
    model = _Model(job.model_dir)
    found = [model.log_probabilities(*text) for text in texts]
    return _facts(np.concatenate(expected), np.concatenate(found))


def _facts(expected: NDArray[np.float32], found: NDArray[np.float32]) -> dict[str, Json]:
    """Return figures of log-probabilities of shape (tokens, vocabulary)."""
    import numpy as np

    divergence = (np.exp(expected) * (expected - found)).sum(axis=-1)
    same_top = expected.argmax(axis=-1) == found.argmax(axis=-1)
    return {
        "mean_kl": round(float(divergence.mean()), 6),
        "standard_error": round(float(divergence.std() / math.sqrt(len(divergence))), 6),
        "same_top": round(float(same_top.mean()), 4),
        "tokens": len(divergence),
    }


def _tokens(job: EvaluationJob) -> tuple[list[list[int]], int]:
    """Return the tokens of each prompt, and the one that ends an answer."""
    import openvino_genai

    tokenizer = openvino_genai.Tokenizer(str(job.model_dir))
    special = job.recipe.prompt.add_special_tokens
    prompts = []
    for text in map(job.render, INSTRUCTIONS):
        encoded = tokenizer.encode(text, add_special_tokens=special)
        prompts.append([int(token) for token in encoded.input_ids.data[0]])
    return prompts, int(tokenizer.get_eos_token_id())


class _Model:
    """A stateful IR on the CPU."""

    def __init__(self, model_dir: Path) -> None:
        import openvino

        compiled = openvino.Core().compile_model(model_dir / IR_XML, "CPU", EXACTLY)
        self._inputs = {name for port in compiled.inputs for name in port.names}
        self._request: Any = compiled.create_infer_request()

    def answer(self, prompt: Sequence[int], max_new_tokens: int, end: int) -> list[int]:
        """Return the likeliest next tokens, the one that ends the answer included."""
        self._request.reset_state()
        answer: list[int] = []
        tokens, past = list(prompt), 0
        while len(answer) < max_new_tokens and end not in answer[-1:]:
            logits = self._logits(tokens, past)
            past += len(tokens)
            tokens = [int(logits[-1].argmax())]
            answer += tokens
        return answer

    def log_probabilities(
        self, prompt: Sequence[int], answer: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return those of every token of the vocabulary at each place of the answer."""
        import numpy as np

        self._request.reset_state()
        logits = self._logits([*prompt, *answer[:-1]], 0)[len(prompt) - 1 :]
        shifted = logits - logits.max(axis=-1, keepdims=True)
        found: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return found

    def _logits(self, tokens: Sequence[int], past: int) -> NDArray[np.float32]:
        """Return the logits of each token, (tokens, vocabulary); `past` tokens were read before."""
        self._request.infer(model_inputs([tokens], self._inputs, past=past))
        logits: NDArray[np.float32] = self._request.get_tensor("logits").data[0].copy()
        return logits
