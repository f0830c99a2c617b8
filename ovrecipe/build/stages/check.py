"""check: the assembled directory opens, and the model answers with numbers that are numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.stage import Stage
from ovrecipe.errors import GateError
from ovrecipe.run.prompt import prompt_template

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Evaluator
    from ovrecipe.recipe.schema import ProviderSpec, Recipe
    from ovrecipe.run.chat_template import Message
    from ovrecipe.types import Json


PROBE = "What is the capital of France?"
#: Templates that print the date get this one, so that a gate's result does not depend on the day.
PROBE_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def probe_prompt(recipe: Recipe, model_dir: Path) -> str:
    """Return the recipe's prompt for one fixed instruction, as `rendered` does."""
    return rendered(recipe, model_dir, PROBE)


def rendered(recipe: Recipe, model_dir: Path, instruction: str) -> str:
    """Return the recipe's prompt for an instruction, on a fixed day.

    Raises:
        PromptRefused: neither the recipe nor the checkpoint says how a prompt is written.
    """
    messages: list[Message] = []
    if recipe.prompt.system:
        messages.append({"role": "system", "content": recipe.prompt.system})
    messages.append({"role": "user", "content": instruction})
    return prompt_template(recipe, model_dir, clock=lambda: PROBE_TIME).render(messages)


def evaluator_fields(plan: RecipePlan) -> dict[str, Json]:
    """Return what the key of `check` says about the recipe's evaluators; nothing without any."""
    specs = plan.recipe.check.evaluators
    return {"evaluators": [_fields(plan, each) for each in specs]} if specs else {}


def _fields(plan: RecipePlan, spec: ProviderSpec) -> Json:
    provided = plan.evaluator(spec.name)
    options = _options(provided.provider, spec, plan.recipe)
    return {
        "evaluator": provided.key_fields(),
        "options": options.model_dump(mode="json") if options is not None else {},
    }


def _options(evaluator: Evaluator, spec: ProviderSpec, recipe: Recipe) -> BaseModel | None:
    from ovrecipe.hooks.options import validated

    where = f"{recipe.path.name}: check.evaluators.{spec.name}"
    return validated(evaluator, spec.options, where=where)


def evaluate(job: Job, bench: Bench) -> list[Json]:
    """Run the recipe's evaluators in order and return what each found out.

    Raises:
        GateError: an evaluator refuses the model; the message names it.
    """
    return [_evaluated(job, bench, each) for each in job.recipe.check.evaluators]


def _evaluated(job: Job, bench: Bench, spec: ProviderSpec) -> dict[str, Any]:
    provided = bench.plugins.provider("evaluator", spec.name, job.recipe)
    options = _options(provided.provider, spec, job.recipe)
    bench.progress(f"evaluating: {spec.name}")
    try:
        with provided.blamed():
            facts = dict(provided.provider.evaluate(_evaluation_job(job, bench, options)))
    except GateError as error:
        message = f"evaluator {spec.name!r}: {error.message}"
        raise GateError(message, remedy=error.remedy) from error
    return {"evaluator": spec.name, "facts": facts}


def _evaluation_job(job: Job, bench: Bench, options: BaseModel | None) -> Any:
    from ovrecipe.hooks.roles import EvaluationJob

    model_dir = job.inputs["assemble"]
    return EvaluationJob(
        model_dir=model_dir,
        base_dir=job.inputs["base"],
        recipe=job.recipe,
        variant=str(job.variant),
        options=options,
        render=lambda instruction: rendered(job.recipe, model_dir, instruction),
        progress=bench.progress,
    )


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
