"""check: the assembled directory opens, and the model answers with numbers that are numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.base import MODEL_FILES
from ovrecipe.build.stages.stage import Job, Stage, StageContext
from ovrecipe.errors import GateError, GenerationParameterRefused, StageError
from ovrecipe.hooks.provided import key_options
from ovrecipe.hooks.roles import Estimate, EvaluationJob
from ovrecipe.json_files import GENERATION_CONFIG, read_object
from ovrecipe.measure.verdict import exceeded, limits_of
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.artifact import STEPS, Artifact
from ovrecipe.run.assistants import NONE
from ovrecipe.run.parameters import form_of
from ovrecipe.run.prompt import fixed_clock, read_template, rendered
from ovrecipe.store.manifest import read_manifest
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work

QUESTION = "What is the capital of France?"
#: Of which the answer repeats the prompt, so that prompt lookup finds something.
REPEATED = "Repeat: one two three four five six seven eight. Again: one two three four five six"
#: Tokens that the check lets the model write.
CHECK_TOKENS = 16
#: What opens the model and answers.
PACKAGES = ("openvino", "openvino-genai")
#: The inputs that are opened as models.
MODELS = ("assemble", "base")
#: What opening a model takes: measured 0.95 GB for 0.27 GB of FP16 weights, which the CPU plugin
#: widens, and 0.45 GB for 0.09 GB of INT4 (SmolLM2, OpenVINO 2026.4).
OPENING_BYTES, OPENING_FACTOR = 300_000_000, 2.5


def evaluate(job: Job, context: StageContext) -> Iterator[Json]:
    """Run the recipe's evaluators in order and yield what each found out.

    Raises:
        GateError: an evaluator refuses the model; the message names it.
    """
    model_dir = job.inputs["assemble"]
    for provided, options in context.plugins.configured("evaluator", job.recipe):
        context.progress(f"evaluating: {provided.name}")
        try:
            with context.calling(provided), _asking(job) as ask:
                work = EvaluationJob(
                    model_dir=model_dir,
                    base_dir=job.inputs["base"],
                    recipe=job.recipe,
                    variant=str(job.variant),
                    ask=ask,
                    render=partial(rendered, model_dir),
                    options=options,
                    progress=context.progress,
                )
                facts = provided.facts(provided.provider.evaluate(work))
        except GateError as error:
            message = f"evaluator {provided.name!r}: {error.message}"
            raise GateError(message, remedy=error.remedy) from error
        yield {"evaluator": provided.name, "facts": facts}


@contextmanager
def _asking(job: Job) -> Iterator[Callable[..., str]]:
    """Give what answers a question as `ovrecipe run` does; the model is opened by the first one."""
    from ovrecipe.run.load import open_artifact
    from ovrecipe.run.runner import Runner

    model_dir = job.inputs["assemble"]
    with ExitStack() as closing:

        @cache
        def runner() -> Runner:
            opened = Runner(
                open_artifact(
                    Artifact(str(job.variant), model_dir, model_dir),
                    "CPU",
                    properties={},
                    announce=print,
                ),
                recipe=job.recipe,
                variant=str(job.variant),
                template=read_template(model_dir, clock=fixed_clock),
                parameters=read_object(model_dir / GENERATION_CONFIG),
            )
            closing.callback(opened.close)
            return opened

        def ask(question: str, **generation: Any) -> str:
            greedy = {} if generation.get("do_sample") else {"greedy": True}
            return runner().generate(question, **{**greedy, **generation}).text

        yield ask


def inputs(recipe: Recipe, variant: str | None) -> tuple[str, ...]:  # noqa: ARG001
    """What is opened; and the base, if evaluators may compare with it."""
    return ("assemble", "conformance", "reference", *(("base",) if recipe.check.evaluators else ()))


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """How the model is asked, what answers, and the recipe's evaluators, if there are any."""
    evaluators: list[Json] = [
        {"evaluator": provided.key_fields(), "options": key_options(options)}
        for provided, options in plan.context.plugins.configured("evaluator", plan.recipe)
    ]
    return {
        "add_special_tokens": plan.recipe.prompt.add_special_tokens,
        "packages": plan.package_versions(PACKAGES),
        **({"evaluators": evaluators} if evaluators else {}),
    }


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the model with its source, let it answer as GenAI runs it, ask the evaluators.

    What is found is judged by the recipe's limits of the day (`judged`), not here.

    Raises:
        GateError: it does not run, it says nothing at all, or an evaluator refuses it.
    """
    _check_form(job)
    facts = {**_measured(job, context), **_assisted(job, context)}
    found = list(evaluate(job, context))
    return {**facts, "evaluators": found} if found else facts


def _assisted(job: Job, context: StageContext) -> dict[str, Json]:
    """Return that the model answers the same beside its assistants, if it has any.

    Raises:
        GateError: it does not, or GenAI cannot run it so.
    """
    from ovrecipe.measure.assistance import Questions, check_assistants
    from ovrecipe.run.load import own_assistants

    model_dir = job.inputs["assemble"]
    own = own_assistants(Artifact(str(job.variant), model_dir, model_dir), job.inputs.get("draft"))
    if own == NONE:
        return {}
    backend = str(read_manifest(job.inputs["reference"]).facts["attention_backend"])
    if backend == STEPS:
        raise GateError(
            f"{job.recipe.name}:{job.variant}: OpenVINO GenAI computes this model wrongly, so it "
            "is run without, and nothing can stand beside it",
            remedy="leave draft, prompt_lookup and adapters out of the recipe",
        )
    if own.write_ahead and backend != "PA":
        raise GateError(
            f"{job.recipe.name}:{job.variant}: paged attention computes this model wrongly, and "
            "GenAI writes ahead with nothing else",
            remedy="leave draft and prompt_lookup out of the recipe",
        )
    context.progress("comparing answers with and without what stands beside the model")
    prompts = [rendered(model_dir, text) for text in (QUESTION, REPEATED)]
    special = job.recipe.prompt.add_special_tokens
    return check_assistants(Questions(model_dir, prompts, special, backend), own)


def companions(recipe: Recipe, variant: str | None) -> dict[str, str]:
    """Return the draft model, if the recipe names one."""
    draft = recipe.draft_of(str(variant))
    return {} if draft is None else {"draft": draft.recipe}


def _check_form(job: Job) -> None:
    """Let GenAI compile the form of answers that the recipe asks for, if it does.

    Without GenAI no other parameter that only it knows is done either.
    """
    from ovrecipe.run.steps import check_steps_parameters
    from ovrecipe.run.structured import FormCheck

    form = form_of(job.recipe.generation_of(str(job.variant)).given(), {})
    try:
        if read_manifest(job.inputs["reference"]).facts["attention_backend"] == STEPS:
            check_steps_parameters(form, job.inputs["assemble"])
        if form:
            FormCheck(job.inputs["assemble"]).check(form)
    except GenerationParameterRefused as error:
        raise GateError(f"generation.{error.message}", remedy=error.remedy) from error


def _measured(job: Job, context: StageContext) -> dict[str, Json]:
    """Return how far the weights are from the source, how far GenAI's run of them, an answer."""
    from ovrecipe.measure.figures import chosen_log_probabilities, compared, gap
    from ovrecipe.measure.models import OPENED, Paged, logits_of
    from ovrecipe.measure.reference import Reference

    model_dir, reference_dir = job.inputs["assemble"], job.inputs["reference"]
    context.progress("comparing with the source")
    reference = Reference.load(reference_dir)
    known = read_manifest(reference_dir).facts
    with gate_errors("OpenVINO does not run the model"):
        logits = logits_of(model_dir, reference.tokens)
    quality = compared(reference, logits).facts()
    size_bytes, base_bytes = (model_dir / MODEL_FILES[1]).stat().st_size, known["weights_bytes"]
    assert isinstance(base_bytes, int), "written by the stage `reference`"
    quality["size_ratio"] = round(size_bytes / base_bytes, 4)
    context.progress("asking the model")
    backend = known["attention_backend"]
    with gate_errors("OpenVINO GenAI does not run the model"):
        opened = OPENED[str(backend)](model_dir)
        special = job.recipe.prompt.add_special_tokens
        prompt = rendered(model_dir, QUESTION)
        tokens = opened.tokenizer.encode(prompt, add_special_tokens=special).input_ids.data
        [answer] = opened.answers(tokens, CHECK_TOKENS)
        if isinstance(opened, Paged):
            as_run = opened.log_probabilities(reference.tokens)
        else:
            # Nobody gives any then; the same IR is run with the same properties, which are none.
            as_run = chosen_log_probabilities(reference, logits_of(model_dir, reference.tokens, {}))
        distance = gap(as_run, chosen_log_probabilities(reference, logits))
        if math.isfinite(distance):
            quality["as_run_gap"] = round(distance, 4)
    if not answer:
        raise GateError(f"{job.recipe.name}:{job.variant}: the model wrote no token at all")
    return {
        "quality": quality,
        "attention_backend": backend,
        "answer": opened.tokenizer.decode(answer),
        "rendered_otherwise": _rendered_otherwise(model_dir, opened.tokenizer),
    }


def _rendered_otherwise(model_dir: Path, tokenizer: Any) -> Json:
    """Return of which conversations GenAI's own engine makes another prompt than `ovrecipe run`."""
    from ovrecipe.conformance.templates import by_genai, by_ovrecipe, differences

    # Of today: GenAI writes the date of today too, where a template asks for it.
    template = read_template(model_dir)
    found = differences(by_ovrecipe(template), by_genai(tokenizer))
    return [difference.describe() for difference in found]


def judged(recipe: Recipe, variant: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a check's facts the recipe does not accept."""
    quality = facts["quality"]
    limits = limits_of(
        recipe.accept_of(variant),
        recipe.variants[variant].precision,
        information=quality.get("information", 0.0),
    )
    yield from map(str, exceeded(quality, limits))


@contextmanager
def gate_errors(what: str) -> Iterator[None]:
    """Turn a StageError into the gate's, with what did not work in front."""
    try:
        yield
    except StageError as error:
        raise GateError(f"{what}: {error.message}", remedy=error.remedy) from error


def estimate(work: Work) -> Estimate:
    """The largest of what is open at a time: the model with its draft model, or the base."""
    store = work.context.store
    keys = [needed.key() for needed in work.needs() if needed.kind in MODELS]
    sizes = dict.fromkeys(MODELS, 0)
    for key in keys:
        if key is not None and store.has(key):
            sizes[key.stage] += store.manifest(key).size_bytes
    memory_bytes = OPENING_BYTES + OPENING_FACTOR * max(sizes.values())
    return Estimate(disk_bytes=0, memory_bytes=int(memory_bytes))


STAGE = Stage(
    name="check",
    doc="the gate that the model answers",
    doing="checking that the model answers",
    version=3,
    inputs=inputs,
    companions=companions,
    fields=fields,
    run=run,
    per_variant=True,
    is_gate=True,
    objections=judged,
    estimate=estimate,
)
