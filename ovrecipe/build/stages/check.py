"""check: the assembled directory opens, and the model answers with numbers that are numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ovrecipe.build.evaluators import evaluate, evaluator_fields
from ovrecipe.build.stages.stage import Stage
from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Json
    from ovrecipe.recipe.schema import Recipe

#: Tokens that the check lets the model write.
CHECK_TOKENS = 16
#: What opens the model and answers.
PACKAGES = ("openvino", "openvino-genai")


def inputs(recipe: Recipe, variant: str | None) -> tuple[str, ...]:  # noqa: ARG001
    """What is opened; and the base, if evaluators may compare with it."""
    return ("assemble", "conformance", *(("base",) if recipe.check.evaluators else ()))


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """How the model is asked, what answers, and the recipe's evaluators."""
    return {
        "add_special_tokens": plan.recipe.prompt.add_special_tokens,
        "packages": plan.package_versions(PACKAGES),
        **evaluator_fields(plan),
    }


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Open the directory as a user would, let it answer twice, and ask the recipe's evaluators.

    Raises:
        GateError: it does not open, its logits are not finite, it says nothing at all, or an
            evaluator refuses it.
    """
    facts = _asked(job, bench)
    found = evaluate(job, bench)
    return {**facts, "evaluators": found} if found else facts


def _asked(job: Job, bench: Bench) -> dict[str, Json]:
    from ovrecipe.build.probe import probe_prompt

    model_dir = job.inputs["assemble"]
    prompt = probe_prompt(job.recipe, model_dir)
    bench.progress("opening the model")
    pipeline = _open(str(model_dir))
    bench.progress("asking the model")
    return answered(
        pipeline,
        prompt,
        add_special_tokens=job.recipe.prompt.add_special_tokens,
        target=f"{job.recipe.name}:{job.variant}",
    )


def answered(
    pipeline: Any, prompt: str, *, add_special_tokens: bool, target: str
) -> dict[str, Json]:
    """Return the facts of a sampled and of a greedy answer of an `LLMPipeline`.

    Raises:
        GateError: as `run`.
    """
    tokenizer = pipeline.get_tokenizer()
    tokens = tokenizer.encode(prompt, add_special_tokens=add_special_tokens)
    score = _answer(pipeline, tokens, do_sample=True, rng_seed=0).scores[0]
    if not math.isfinite(score):
        raise GateError(
            f"{target}: the model's logits are not finite "
            f"(log-probability of a sampled answer: {score})",
            remedy="the weights overflowed or were corrupted; try another precision",
        )
    greedy = _answer(pipeline, tokens, do_sample=False)
    if not greedy.tokens[0]:
        raise GateError(f"{target}: the model wrote no token at all")
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
    "check", 1, "checking that the model answers", inputs, fields, run,
    per_variant=True,
)  # fmt: skip
