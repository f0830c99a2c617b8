"""From `NAME[:VARIANT]`, or the folder of an export, to what runs its task, or an `Engine`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ovrecipe.builtin.vector_settings import VectorSettings
from ovrecipe.errors import GenerationParameterRefused, NotBuilt, RunError
from ovrecipe.recipe.load import check_requirements, load_recipe
from ovrecipe.recipe.project import Project, find_project, named_by, split_target
from ovrecipe.recipe.schema import Recipe, check_task
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TASKS, TaskName
from ovrecipe.run.artifact import (
    ONE_PROMPT,
    STEPS,
    Artifact,
    built_artifacts,
    check_content,
    find_artifact,
)
from ovrecipe.run.assistants import (
    NONE,
    WRITTEN_AHEAD,
    Assistants,
    check_adapter,
    sampling_refused,
    vocabulary_objection,
)
from ovrecipe.run.chain import chosen_filters
from ovrecipe.run.exported import export_folder, open_export
from ovrecipe.run.genai import ATTENTION_BACKEND, check_parameters, open_pipeline
from ovrecipe.run.parameters import merged
from ovrecipe.run.prompt import read_template
from ovrecipe.run.runner import Runner, Variants
from ovrecipe.run.steps import check_steps_parameters, open_steps
from ovrecipe.run.vectors import MODELS, Embedder, Reranker, VectorModel, VectorPipeline
from ovrecipe.store.disk import disk_errors

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.run.batching import FixedAdapter, Room
    from ovrecipe.run.engine import Engine, Observed
    from ovrecipe.run.generation import Generation
    from ovrecipe.run.pipeline import Pipeline


@overload
def load(
    target: str | PathLike[str], device: str = "CPU", *, task: None = None, **options: Any
) -> Any: ...


@overload
def load(
    target: str | PathLike[str],
    device: str = "CPU",
    *,
    task: Literal["text-generation"],
    **options: Any,
) -> Runner: ...


@overload
def load(
    target: str | PathLike[str],
    device: str = "CPU",
    *,
    task: Literal["text-embedding"],
    **options: Any,
) -> Embedder: ...


@overload
def load(
    target: str | PathLike[str],
    device: str = "CPU",
    *,
    task: Literal["text-rerank"],
    **options: Any,
) -> Reranker: ...


def load(
    target: str | PathLike[str],
    device: str = "CPU",
    *,
    project: Project | None = None,
    plugins: Plugins | None = None,
    warm_up: bool = False,
    announce: Callable[[str], None] | None = None,
    generation: Mapping[str, Any] | None = None,
    unaccepted: bool = False,
    task: TaskName | None = None,
    draft: str | None = None,
    prompt_lookup: bool | None = None,
    **properties: Any,
) -> Any:
    """Load a built variant, `NAME:VARIANT` or `NAME`, and return what runs its recipe's task.

    That is a `Runner` for text generation, an `Embedder` for text embedding and a `Reranker` for
    text rerank; with `task` a recipe of another one is refused.

    Without a variant it is int4 if built, else the smallest that is. `./out`, and any `Path`, is
    the folder of an export, which needs no project. `project` is looked for from the working
    folder upwards, `plugins` are the installed ones. `properties` go to OpenVINO
    (`PERFORMANCE_HINT="LATENCY"`). `announce` is told what runs another way than asked for, or was
    built from other settings than the recipe's; it prints to stderr unless given. `generation` are
    parameters that will be asked with: wrong ones are refused before loading. `unaccepted` opens
    what a gate refused, for study. `draft` (`NAME:VARIANT`, "" for none) and `prompt_lookup` count
    in place of the recipe's.

        with ovrecipe.load("smollm2-135m:int4") as model:
            for segment in model.stream("What is the capital of France?", greedy=True):
                print(segment, end="", flush=True)

    Raises:
        NotBuilt: the variant is not there; the message has the command that builds it.
        ArtifactCorrupt: one of its files is not what was built.
        RecipeError, PluginError: the recipe cannot be used.
        GenerationParameterRefused: `generation`, by name.
        DeviceUnknown, RunError: OpenVINO cannot load the model there.
    """
    found = find(
        target,
        project=project,
        plugins=plugins,
        announce=announce,
        generation=generation,
        unaccepted=unaccepted,
        task=task,
    )
    ahead = {"draft": draft, "prompt_lookup": prompt_lookup}
    return OPENERS[found.recipe.task](
        found, device, warm_up=warm_up, ahead=ahead, properties=properties
    )


def _open_runner(
    found: Found,
    device: str,
    *,
    warm_up: bool,
    ahead: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> Runner:
    """Open a model that writes text; `ahead` is `draft` and `prompt_lookup` of `load`."""
    artifact, announce = found.artifact, found.announce
    variants = None
    if found.project is not None:
        project, recipe = found.project, found.recipe

        def sizes_bytes() -> dict[str, int]:
            built = built_artifacts(project, recipe)
            return {name: artifact.weights_bytes for name, artifact in built.items()}

        def sibling(variant: str) -> Runner:
            target = f"{recipe.name}:{variant}"
            # A model does not write ahead of itself.
            draft = None if ahead["draft"] == target else ahead["draft"]
            return load(
                target,
                device,
                project=project,
                plugins=found.plugins,
                announce=announce,
                warm_up=warm_up,
                task=GENERATION,
                **{**ahead, "draft": draft},
                **properties,
            )

        variants = Variants(sizes_bytes, sibling)
    assistants = assistants_of(found.project, artifact, announce=announce, **ahead)
    if found.asked is not None:
        check_assisted(assistants, {**artifact.parameters(), **found.asked})
    runner = Runner(
        open_artifact(
            artifact, device, properties=properties, announce=announce, assistants=assistants
        ),
        variants=variants,
        observe=_observe(found.plugins, announce),
        **found.given,
    )
    try:
        if warm_up:
            runner.warm_up()
    except BaseException:
        runner.close()
        raise
    return runner


def _open_vectors(
    found: Found,
    device: str,
    *,
    warm_up: bool,
    ahead: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> VectorModel:
    """Open a model that writes no text.

    Raises:
        GenerationParameterRefused: something was to be written `ahead` of it.
    """
    for name, value in ahead.items():
        if value:
            raise _generates_none(name, found.recipe)
    model_dir = found.artifact.model_dir
    settings = VectorSettings.load(model_dir)
    cached = _cached(properties, found.artifact, device)
    model = MODELS[settings.task](
        VectorPipeline.opened(model_dir, settings, device, cached),
        recipe=found.recipe,
        variant=found.artifact.variant,
        settings=settings,
        announce=found.announce,
    )
    if warm_up:
        model.warm_up()
    return model


#: Who opens what a recipe of each task has built.
OPENERS: Mapping[TaskName, Callable[..., Runner | VectorModel]] = {
    GENERATION: _open_runner,
    EMBEDDING: _open_vectors,
    RERANK: _open_vectors,
}


def load_engine(
    target: str | PathLike[str],
    device: str = "CPU",
    *,
    project: Project | None = None,
    plugins: Plugins | None = None,
    announce: Callable[[str], None] | None = None,
    generation: Mapping[str, Any] | None = None,
    adapter: str | None = None,
    room: Room | None = None,
    most_waiting: int | None = None,
    after_step: Callable[[], None] | None = None,
    **properties: Any,
) -> Engine:
    """Load a built variant for many prompts at once; the rest is as for `load`.

    `adapter` names the LoRA adapter of the recipe that all its answers have; without it that is
    the one that is always on, and "" is none. A draft model and prompt lookup do not count here.
    `room` is how much cache it has and how many answers grow at once; `most_waiting` bounds who
    waits for that. `after_step` is called on the engine's thread after each step.

        with ovrecipe.load_engine("smollm2-135m:int4") as engine:
            answers = [engine.stream(f"Name a {what}.") for what in ("colour", "river", "bird")]
            print([answer.result.text for answer in answers])

    Raises:
        RunError: GenAI answers one prompt at a time with this model, or cannot load it.
        GenerationParameterRefused: the model has no such adapter.
        OvrecipeError: as for `load`.
    """
    from ovrecipe.run.batching import Room, open_batching
    from ovrecipe.run.engine import MOST_WAITING, Engine
    from ovrecipe.run.structured import FormCheck

    found = find(
        target,
        project=project,
        plugins=plugins,
        announce=announce,
        generation=generation,
        task=GENERATION,
    )
    artifact = found.artifact
    target = f"{found.recipe.name}:{artifact.variant}"
    check_batches(target, artifact)
    fixed = fixed_adapter(artifact, adapter)
    if any(artifact.assistants().get(name) for name in ("draft", "prompt_lookup")):
        found.announce(
            f"{target}: nothing is written ahead for many prompts at once, so its draft model or "
            "prompt lookup is left out; it would only have made answers quicker"
        )
    pipeline = open_batching(
        artifact.model_dir,
        device,
        room=room or Room(),
        properties=_cached(properties, artifact, device),
        adapter=fixed,
    )
    return Engine(
        pipeline,
        forms=FormCheck(artifact.model_dir),
        observe=_observe(found.plugins, found.announce),
        most_waiting=MOST_WAITING if most_waiting is None else most_waiting,
        after_step=after_step,
        **found.given,
    )


def fixed_adapter(artifact: Artifact, name: str | None) -> FixedAdapter | None:
    """Return the adapter of that name; without a name the one that is always on, None for "".

    Raises:
        GenerationParameterRefused: the model has none of that name.
    """
    from ovrecipe.run.batching import FixedAdapter

    own = own_assistants(artifact, None)
    chosen = own.always if name is None else name
    if not chosen:
        return None
    check_adapter(chosen, own.adapters)
    return FixedAdapter(chosen, *own.adapters[chosen])


def check_batches(target: str, artifact: Artifact) -> None:
    """Refuse a model that GenAI computes wrongly when it answers several prompts.

    Raises:
        RunError: the build found it so.
    """
    reason = ONE_PROMPT.get(artifact.attention_backend() or "")
    if reason is not None:
        raise RunError(
            f"{target}: can answer one prompt at a time only, for {reason}",
            remedy="'ovrecipe run' and 'ovrecipe chat' answer in the way that is right",
        )


@dataclass(frozen=True)
class Found:
    """An artifact with what its recipe and its files say of how it answers; maybe no project's."""

    project: Project | None
    plugins: Plugins
    announce: Callable[[str], None]
    artifact: Artifact
    recipe: Recipe
    #: The parameters of generation that will be asked with, where that is known.
    asked: Mapping[str, Any] | None
    #: What a runner and an engine are given alike; nothing for what writes no text.
    given: Mapping[str, Any]


def find(
    target: str | PathLike[str],
    *,
    project: Project | None = None,
    plugins: Plugins | None = None,
    announce: Callable[[str], None] | None = None,
    generation: Mapping[str, Any] | None = None,
    unaccepted: bool = False,
    task: TaskName | None = None,
) -> Found:
    """Return what `load` loads; what can be refused without the model is refused here.

    Raises:
        OvrecipeError: as `load` does, but for the device.
    """
    from ovrecipe.hooks.plugins import load_plugins

    env = dict(os.environ) if project is None else project.env
    announce = announce or _to_stderr
    plugins = plugins or load_plugins(env=env)
    folder, place = export_folder(target), None
    if folder is not None:
        recipe, artifact = _exported(folder, env, unaccepted=unaccepted)
    else:
        place = project or find_project(Path.cwd(), env)
        recipe, artifact = _built(place, str(target), announce, task=task, unaccepted=unaccepted)
    if task is not None:
        check_task(recipe, task)
    asked = None if generation is None else merged(generation)
    given = _given(recipe, artifact, plugins, asked or {})
    return Found(place, plugins, announce, artifact, recipe, asked, given)


def _given(
    recipe: Recipe, artifact: Artifact, plugins: Plugins, generation: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what runs a model that writes text; parameters for another one are refused."""
    if recipe.task != GENERATION:
        for name in generation:
            raise _generates_none(name, recipe)
        return {}
    filters = chosen_filters(recipe, plugins)
    template = read_template(artifact.model_dir)
    if generation:
        check_parameters(generation, artifact.model_dir)
        if artifact.attention_backend() == STEPS:
            check_steps_parameters(generation, artifact.model_dir)
    return {
        "recipe": recipe,
        "variant": artifact.variant,
        "template": template,
        "parameters": artifact.parameters(),
        "filters": filters,
        "context_length": artifact.context_length(),
    }


def _generates_none(name: str, recipe: Recipe) -> GenerationParameterRefused:
    reason = f"{name}: {recipe.name} {TASKS[recipe.task].does} and generates none"
    return GenerationParameterRefused(reason, remedy="leave it out")


def _built(
    project: Project,
    target: str,
    announce: Callable[[str], None],
    *,
    task: TaskName | None,
    unaccepted: bool,
) -> tuple[Recipe, Artifact]:
    """Return the recipe and the artifact of a name."""
    name, variant = split_target(target)
    recipe = load_recipe(project, name)
    check_requirements(recipe)
    if task is not None:
        check_task(recipe, task)
    artifact = find_artifact(project, recipe, variant, unaccepted=unaccepted)
    check_content(project, artifact.model_dir)
    found = f"{name}:{artifact.variant}"
    if unaccepted:
        announce(f"{found} was refused by a gate; do not trust what it says")
    if artifact.is_stale(recipe):
        announce(f"{found} was built from other settings; see 'ovrecipe why {found}'")
    return recipe, artifact


def _exported(folder: Path, env: Mapping[str, str], *, unaccepted: bool) -> tuple[Recipe, Artifact]:
    """Return the recipe and the artifact of an export."""
    if unaccepted:
        remedy = "leave --unaccepted out: only what passed its gates is exported"
        raise NotBuilt(f"{folder} is an export, which no gate has refused", remedy=remedy)
    recipe, artifact = open_export(folder, env)
    check_requirements(recipe)
    return recipe, artifact


def open_artifact(
    artifact: Artifact,
    device: str,
    *,
    properties: Mapping[str, Any],
    announce: Callable[[str], None],
    assistants: Assistants = NONE,
) -> Pipeline:
    """Load an artifact's model with the attention that it was checked with, or without any.

    Raises:
        DeviceUnknown, RunError: OpenVINO cannot load the model there.
    """
    if artifact.attention_backend() == STEPS:
        cached = _cached(properties, artifact, device)
        return open_steps(artifact.model_dir, device, properties=cached)
    asked = _cached(_with_attention(properties, artifact, device), artifact, device)
    return open_pipeline(
        artifact.model_dir, device, properties=asked, announce=announce, assistants=assistants
    )


def own_assistants(artifact: Artifact, draft_dir: Path | None) -> Assistants:
    """Return what an artifact was put together with; `draft_dir` is where its draft model is."""
    own = artifact.assistants()
    adapters = own.get("adapters") or {}
    ahead = (own.get("draft") or {}).get("num_assistant_tokens", WRITTEN_AHEAD)
    return Assistants(
        draft_dir=draft_dir,
        num_assistant_tokens=ahead,
        prompt_lookup=bool(own.get("prompt_lookup")),
        adapters={
            name: (artifact.model_dir / one["file"], one["alpha"]) for name, one in adapters.items()
        },
        always=next((name for name, one in adapters.items() if one["always"]), None),
    )


def assistants_of(
    project: Project | None,
    artifact: Artifact,
    *,
    draft: str | None,
    prompt_lookup: bool | None,
    announce: Callable[[str], None],
) -> Assistants:
    """Return what an artifact is run with: its own, but for what was asked for.

    Raises:
        RecipeError, NotBuilt: the draft model is not there.
        RunError: GenAI cannot write ahead so, or the draft model has other tokens.
    """
    own = own_assistants(artifact, None)
    if draft and prompt_lookup:
        raise RunError("a draft model and prompt lookup do not go together", remedy="leave one out")
    drafted = draft
    if draft is None and not prompt_lookup:
        drafted = (artifact.assistants().get("draft") or {}).get("recipe")
    if drafted and project is None:
        if draft:
            raise RunError(
                f"draft {draft}: is a recipe's, and an export has no project",
                remedy="leave it out, or run the variant in its project",
            )
        announce(f"its draft model {drafted} is not in the export; the answers are the same")
        drafted = None
    lookup = (own.prompt_lookup and not draft) if prompt_lookup is None else prompt_lookup
    if (drafted or lookup) and artifact.attention_backend() in ONE_PROMPT:
        raise RunError(
            "paged attention computes this model wrongly, and GenAI writes ahead with nothing else",
            remedy="leave out the draft model and prompt lookup",
        )
    if not drafted or project is None:
        return replace(own, prompt_lookup=lookup)
    return replace(own, draft_dir=draft_directory(project, artifact, drafted), prompt_lookup=lookup)


def check_assisted(assistants: Assistants, parameters: Mapping[str, Any]) -> None:
    """Refuse, before a model is loaded, what its assistants do not take.

    Raises:
        GenerationParameterRefused: by name.
    """
    check_adapter(parameters.get("adapter", ""), assistants.adapters)
    if assistants.draft_dir is not None and parameters.get("do_sample"):
        raise sampling_refused()


def draft_directory(project: Project, artifact: Artifact, target: str) -> Path:
    """Return the directory of a draft model whose tokens are those of the artifact.

    Raises:
        RecipeError, NotBuilt: it is not there.
        RunError: it has other tokens.
    """
    recipe, variant = named_by(target, partial(load_recipe, project))
    found = find_artifact(project, recipe, variant)
    if found.model_dir == artifact.model_dir:
        raise RunError(f"draft {target}: a model cannot write ahead of itself")
    check_content(project, found.model_dir)
    reason = vocabulary_objection(artifact.model_dir, found.model_dir)
    if reason is not None:
        raise RunError(
            f"draft {target}: {reason}", remedy="take a smaller model of the same family"
        )
    return found.model_dir


def _observe(
    plugins: Plugins, report: Callable[[str], None]
) -> Callable[[Generation | Observed], None]:
    """Return what tells the observers of an answer what was asked, and what answered."""
    names = ("recipe", "variant", "question", "messages", "result")

    def tell(generation: Generation | Observed) -> None:
        arguments = {name: getattr(generation, name) for name in names}
        plugins.tell("after_generation", arguments, report=report)

    return tell


def _with_attention(
    properties: Mapping[str, Any], artifact: Artifact, device: str
) -> Mapping[str, Any]:
    """Return properties with SDPA, where paged attention would answer otherwise than the source.

    Paged attention is what GenAI takes by itself; an NPU has neither.
    """
    sdpa = "NPU" not in device and artifact.attention_backend() == "SDPA"
    return {ATTENTION_BACKEND: "SDPA", **properties} if sdpa else properties


def _cached(properties: Mapping[str, Any], artifact: Artifact, device: str) -> Mapping[str, Any]:
    """Return properties that say where compiled models are kept between starts.

    Not for the CPU, which is slower with a cache (`docs/running.md` has the figures).
    """
    if device == "CPU" or "CACHE_DIR" in properties:
        return properties
    remedy = "the device's compiled model is kept there; make it writable, or pass CACHE_DIR"
    with disk_errors(artifact.cache_dir, any_refusal=True, remedy=remedy):
        artifact.cache_dir.mkdir(parents=True, exist_ok=True)
    return {"CACHE_DIR": str(artifact.cache_dir), **properties}


def _to_stderr(message: str) -> None:
    print(f"ovrecipe: {message}", file=sys.stderr)
