"""check: the assembled directory opens, and the model answers with numbers that are numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.stage import Stage, always
from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Json

#: Tokens that the check lets the model write.
CHECK_TOKENS = 16


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """Nothing beside the inputs."""
    return {}


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Open the directory as a user would and let it answer twice.

    Raises:
        GateError: it does not open, its logits are not finite, or it says nothing at all.
    """
    from ovrecipe.build.probe import probe_prompt

    model_dir = job.inputs["assemble"]
    bench.progress("opening the model")
    pipeline = _open(str(model_dir))
    tokenizer = pipeline.get_tokenizer()
    prompt = probe_prompt(job.recipe, model_dir)
    tokens = tokenizer.encode(prompt, add_special_tokens=job.recipe.prompt.add_special_tokens)
    bench.progress("asking the model")
    score = _answer(pipeline, tokens, do_sample=True, rng_seed=0).scores[0]
    if not math.isfinite(score):
        raise GateError(
            f"{job.recipe.name}:{job.variant}: the model's logits are not finite "
            f"(log-probability of a sampled answer: {score})",
            remedy="the weights overflowed or were corrupted; try another precision",
        )
    greedy = _answer(pipeline, tokens, do_sample=False)
    if not greedy.tokens[0]:
        raise GateError(f"{job.recipe.name}:{job.variant}: the model wrote no token at all")
    return {"answer": tokenizer.decode(greedy.tokens[0]), "log_probability": score}


def _open(model_dir: str) -> Any:
    import openvino_genai

    try:
        return openvino_genai.LLMPipeline(model_dir, "CPU")
    except RuntimeError as exc:
        raise GateError(f"OpenVINO GenAI does not open the model: {exc}") from exc


def _answer(pipeline: Any, tokens: Any, **generation: Any) -> Any:
    try:
        return pipeline.generate(
            tokens, max_new_tokens=CHECK_TOKENS, apply_chat_template=False, **generation
        )
    except RuntimeError as exc:
        raise GateError(f"the model does not generate: {exc}") from exc


STAGE = Stage(
    "check", 1, "checking that the model answers", always("assemble", "conformance"), fields, run,
    per_variant=True,
)  # fmt: skip
