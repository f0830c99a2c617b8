"""The recipe's own gates: evaluators, which plugins provide, run by the `check` stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.errors import GateError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Evaluator, Json
    from ovrecipe.recipe.schema import EvaluatorSpec, Recipe


def evaluator_fields(plan: RecipePlan) -> dict[str, Json]:
    """Return what the key of `check` says about the recipe's evaluators; nothing without any."""
    specs = plan.recipe.check.evaluators
    return {"evaluators": [_fields(plan, each) for each in specs]} if specs else {}


def _fields(plan: RecipePlan, spec: EvaluatorSpec) -> Json:
    provided = plan.evaluator(spec.name)
    options = _options(provided.provider, spec, plan.recipe)
    return {
        "evaluator": provided.key_fields(),
        "options": options.model_dump(mode="json") if options is not None else {},
    }


def _options(evaluator: Evaluator, spec: EvaluatorSpec, recipe: Recipe) -> BaseModel | None:
    from ovrecipe.hooks.options import validated

    where = f"{recipe.path.name}: check.evaluators.{spec.name}"
    return validated(evaluator, spec.options, where=where)


def evaluate(job: Job, bench: Bench) -> list[Json]:
    """Run the recipe's evaluators in order and return what each found out.

    Raises:
        GateError: an evaluator refuses the model; the message names it.
    """
    return [_evaluated(job, bench, each) for each in job.recipe.check.evaluators]


def _evaluated(job: Job, bench: Bench, spec: EvaluatorSpec) -> dict[str, Any]:
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
    from ovrecipe.build.probe import rendered
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
