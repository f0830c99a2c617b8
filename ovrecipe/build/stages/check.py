"""check: the assembled directory opens, and the model answers with numbers that are numbers."""

from __future__ import annotations

import math
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.assemble import GENERATION_CONFIG
from ovrecipe.build.stages.stage import Stage
from ovrecipe.errors import GateError
from ovrecipe.hooks.provided import key_options
from ovrecipe.hooks.roles import Estimate, EvaluationJob
from ovrecipe.json_files import read_object
from ovrecipe.run.prompt import read_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pydantic import BaseModel

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.recipe.schema import ProviderSpec, Recipe
    from ovrecipe.recipe.yaml_reader import Loc
    from ovrecipe.run.runner import Runner
    from ovrecipe.types import Json

PROBE = "What is the capital of France?"


def probe_clock() -> datetime:
    """Return one day for templates that print the date: a gate must not depend on today's."""
    return datetime(2026, 1, 1, tzinfo=UTC)


def rendered(model_dir: Path, prompt: str) -> str:
    """Return what `ovrecipe run` sends to the model for a prompt, on a fixed day."""
    template = read_template(model_dir, clock=probe_clock)
    return template.render([{"role": "user", "content": prompt}])


def evaluator_fields(plan: RecipePlan) -> dict[str, Json]:
    """Return what the key of `check` says about the recipe's evaluators; nothing without any."""
    specs = plan.recipe.check.evaluators
    found = [_fields(plan, spec, number) for number, spec in enumerate(specs)]
    return {"evaluators": found} if found else {}


def _fields(plan: RecipePlan, spec: ProviderSpec, number: int) -> Json:
    evaluator = plan.evaluator(spec.name)
    options = evaluator.options(spec.options, loc=_loc(number), recipe=plan.recipe)
    return {"evaluator": evaluator.key_fields(), "options": key_options(options)}


def _loc(number: int) -> Loc:
    """Return where the options of an evaluator are written."""
    return ("check", "evaluators", number, "options")


def evaluate(job: Job, bench: StageContext) -> list[Json]:
    """Run the recipe's evaluators in order and return what each found out.

    Raises:
        GateError: an evaluator refuses the model; the message names it.
    """
    specs = job.recipe.check.evaluators
    return [_evaluated(job, bench, spec, number) for number, spec in enumerate(specs)]


def _evaluated(job: Job, bench: StageContext, spec: ProviderSpec, number: int) -> dict[str, Any]:
    provided = bench.plugins.provider("evaluator", spec.name, job.recipe)
    options = provided.options(spec.options, loc=_loc(number), recipe=job.recipe)
    bench.progress(f"evaluating: {spec.name}")
    try:
        with provided.blamed(), _asking(job) as ask:
            work = _evaluation_job(job, bench, options, ask)
            facts = provided.facts(provided.provider.evaluate(work))
    except GateError as error:
        message = f"evaluator {spec.name!r}: {error.message}"
        raise GateError(message, remedy=error.remedy) from error
    return {"evaluator": spec.name, "facts": facts}


def _evaluation_job(
    job: Job, bench: StageContext, options: BaseModel | None, ask: Callable[..., str]
) -> EvaluationJob:
    model_dir = job.inputs["assemble"]
    return EvaluationJob(
        model_dir=model_dir,
        base_dir=job.inputs["base"],
        recipe=job.recipe,
        variant=str(job.variant),
        ask=ask,
        render=lambda prompt: rendered(model_dir, prompt),
        options=options,
        progress=bench.progress,
    )


@contextmanager
def _asking(job: Job) -> Iterator[Callable[..., str]]:
    """Give what answers a question as `ovrecipe run` does; the model is opened by the first one."""
    opened: list[Runner] = []

    def ask(question: str, **generation: Any) -> str:
        if not opened:
            opened.append(_runner(job))
        greedy = {} if generation.get("do_sample") else {"greedy": True}
        return opened[0].generate(question, **{**greedy, **generation}).text

    try:
        yield ask
    finally:
        for runner in opened:
            runner.close()


def _runner(job: Job) -> Runner:
    from ovrecipe.run.genai import open_pipeline
    from ovrecipe.run.runner import Runner

    model_dir = job.inputs["assemble"]
    return Runner(
        open_pipeline(model_dir, "CPU", properties={}, announce=print),
        recipe=job.recipe,
        variant=str(job.variant),
        template=read_template(model_dir, clock=probe_clock),
        parameters=read_object(model_dir / GENERATION_CONFIG),
    )


#: Tokens that the check lets the model write.
CHECK_TOKENS = 16
#: What opens the model and answers.
PACKAGES = ("openvino", "openvino-genai")
#: The inputs that are opened as models.
MODELS = ("assemble", "base")
#: What opening a model takes: measured 0.95 GB for 0.27 GB of FP16 weights, which the CPU plugin
#: widens, and 0.45 GB for 0.09 GB of INT4 (SmolLM2, OpenVINO 2026.4).
OPENING_BYTES, OPENING_FACTOR = 300_000_000, 2.5


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


def run(job: Job, bench: StageContext) -> dict[str, Json]:
    """Open the directory as a user would, let it answer twice, and ask the recipe's evaluators.

    Raises:
        GateError: it does not open, its logits are not finite, it says nothing at all, or an
            evaluator refuses it.
    """
    facts = _asked(job, bench)
    found = evaluate(job, bench)
    return {**facts, "evaluators": found} if found else facts


def _asked(job: Job, bench: StageContext) -> dict[str, Json]:
    model_dir = job.inputs["assemble"]
    prompt = rendered(model_dir, PROBE)
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


def estimate(work: Work) -> Estimate:
    """The larger of the models that are opened; never two at a time."""
    largest = max((size for name, size in work.input_bytes().items() if name in MODELS), default=0)
    return Estimate(disk_bytes=0, memory_bytes=int(OPENING_BYTES + OPENING_FACTOR * largest))


STAGE = Stage(
    name="check",
    doc="the gate that the model answers",
    doing="checking that the model answers",
    version=1,
    inputs=inputs,
    fields=fields,
    run=run,
    per_variant=True,
    is_gate=True,
    estimate=estimate,
)
