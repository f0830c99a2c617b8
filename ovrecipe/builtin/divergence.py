"""The evaluator `divergence`: how far a variant's next tokens are from those of its base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GateError, foreign_errors
from ovrecipe.hooks.roles import EvaluationJob
from ovrecipe.types import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


INSTRUCTIONS = (
    "What is the capital of France?",
    "Write three sentences about the sea.",
    "Write a Python function that reverses a list.",
)
#: Activations, KV cache and matrix products as exact as the device has them: what differs then
#: is the weights.
EXACTLY = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32"}


class DivergenceOptions(BaseModel, frozen=True, extra="forbid"):
    """The limit, and how much of each answer is compared."""

    max_mean_kl: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=32, ge=1, le=1024)


class DivergenceEvaluator:
    """Compares distributions along the answers that the base gives greedily.

    Both models read the same tokens, in one pass: the recipe's prompt around a few instructions,
    and the base's own answers. The divergence is Kullback and Leibler's, of the variant from the
    base, in nats, averaged over the tokens of the answers.
    """

    packages = ("openvino", "openvino-genai")
    options_model = DivergenceOptions

    def evaluate(self, job: EvaluationJob) -> dict[str, Json]:
        """Return the mean divergence and its standard error.

        Raises:
            GateError: the mean is above `max_mean_kl`.
        """
        assert isinstance(job.options, DivergenceOptions), "validated before"
        with foreign_errors("measuring the divergence"):
            facts = _compared(job, job.options.max_new_tokens)
        limit = job.options.max_mean_kl
        # Written so that a divergence that is no number fails too.
        if limit is not None and not float(str(facts["mean_kl"])) <= limit:
            message = f"mean_kl is {facts['mean_kl']}, above max_mean_kl {limit}"
            remedy = "compress less (a smaller group_size or ratio, awq), or raise the limit"
            raise GateError(message, remedy=remedy)
        return facts


def _compared(job: EvaluationJob, max_new_tokens: int) -> dict[str, Json]:
    import numpy as np

    job.progress("asking the base")
    prompts, end = _tokens(job)
    base = StatefulModel(job.base_dir, EXACTLY)
    texts = [(prompt, _answer(base, prompt, max_new_tokens, end)) for prompt in prompts]
    expected = [_log_probabilities(base, *text) for text in texts]
    del base  # two models are never in memory
    job.progress("comparing with the base")
    model = StatefulModel(job.model_dir, EXACTLY)
    found = [_log_probabilities(model, *text) for text in texts]
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
    texts = map(job.render, INSTRUCTIONS)
    encoded = [tokenizer.encode(text, add_special_tokens=special) for text in texts]
    prompts = [tokens.input_ids.data[0].tolist() for tokens in encoded]
    return prompts, int(tokenizer.get_eos_token_id())


def _answer(base: StatefulModel, prompt: list[int], max_new_tokens: int, end: int) -> list[int]:
    """Return the likeliest next tokens, the one that ends the answer included."""
    base.forget()
    answer: list[int] = []
    tokens = prompt
    while len(answer) < max_new_tokens and end not in answer[-1:]:
        tokens = [int(base.logits([tokens])[0, -1].argmax())]
        answer += tokens
    return answer


def _log_probabilities(
    model: StatefulModel, prompt: list[int], answer: list[int]
) -> NDArray[np.float32]:
    """Return those of every token of the vocabulary at each place of the answer."""
    import numpy as np

    model.forget()
    logits = model.logits([[*prompt, *answer[:-1]]])[0, len(prompt) - 1 :]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
