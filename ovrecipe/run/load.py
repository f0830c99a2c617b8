"""From `NAME[:VARIANT]`, or the folder of an export, to a loaded model: what a task runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from ovrecipe.builtin.vector_settings import VectorSettings
from ovrecipe.errors import GenerationParameterRefused, NotBuilt
from ovrecipe.recipe.project import Project, find_project, split_target
from ovrecipe.recipe.schema import Recipe, check_task
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TASKS, TaskName
from ovrecipe.run.artifact import Artifact, built_artifacts, check_content, find_artifact
from ovrecipe.run.chain import chosen_filters
from ovrecipe.run.exported import export_folder, open_export
from ovrecipe.run.genai import (
    ATTENTION_BACKEND,
    GenaiPipeline,
    check_parameters,
    open_pipeline,
)
from ovrecipe.run.parameters import merged
from ovrecipe.run.prompt import read_template
from ovrecipe.run.runner import Runner, Variants
from ovrecipe.run.vectors import MODELS, Embedder, Reranker, VectorModel, VectorPipeline
from ovrecipe.store.disk import disk_errors

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.run.generation import Generation


@overload
def load(target: str, device: str = "CPU", *, task: None = None, **options: Any) -> Any: ...


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
    what a gate refused, for study.

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
    from ovrecipe.hooks.plugins import load_plugins

    env = dict(os.environ) if project is None else project.env
    announce = announce or _to_stderr
    plugins = plugins or load_plugins(env=env)
    folder = export_folder(target)
    if folder is not None:
        recipe, artifact = _exported(folder, env, unaccepted=unaccepted)
    else:
        project = project or find_project(Path.cwd(), env)
        recipe, artifact = _built(project, str(target), announce, task=task, unaccepted=unaccepted)
    if task is not None:
        check_task(recipe, task)
    place = None if folder is not None else project
    asked = _Asked(place, plugins, recipe, artifact, device, announce, properties)
    return OPENERS[recipe.task](asked, warm_up=warm_up, generation=generation or {})


class _Asked(NamedTuple):
    """What is to be opened: found and judged, and not loaded yet. An export has no project."""

    project: Project | None
    plugins: Plugins
    recipe: Recipe
    artifact: Artifact
    device: str
    announce: Callable[[str], None]
    properties: Mapping[str, Any]


def _open_runner(asked: _Asked, *, warm_up: bool, generation: Mapping[str, Any]) -> Runner:
    """Open a model that writes text; what can be refused without the model is refused before."""
    recipe, artifact, device = asked.recipe, asked.artifact, asked.device
    project, plugins, announce = asked.project, asked.plugins, asked.announce
    variants = None
    if project is not None:
        again = partial(load, device=device, project=project, plugins=plugins, announce=announce)
        one_more = partial(again, warm_up=warm_up, task=GENERATION, **asked.properties)
        variants = _variants(project, recipe, one_more)
    filters = chosen_filters(recipe, plugins)
    template = read_template(artifact.model_dir)
    if generation:
        check_parameters(merged(generation), artifact.model_dir)
    parameters, context_length = artifact.parameters(), artifact.context_length()
    runner = Runner(
        open_artifact(artifact, device, properties=asked.properties, announce=announce),
        recipe=recipe,
        variant=artifact.variant,
        template=template,
        parameters=parameters,
        filters=filters,
        context_length=context_length,
        variants=variants,
        observe=_observe(plugins, announce),
    )
    try:
        if warm_up:
            runner.warm_up()
    except BaseException:
        runner.close()
        raise
    return runner


def _open_vectors(asked: _Asked, *, warm_up: bool, generation: Mapping[str, Any]) -> VectorModel:
    """Open a model that writes no text.

    Raises:
        GenerationParameterRefused: `generation` has any parameter.
    """
    for name in generation:
        reason = f"{name}: {asked.recipe.name} {TASKS[asked.recipe.task].does} and generates none"
        raise GenerationParameterRefused(reason, remedy="leave it out")
    model_dir = asked.artifact.model_dir
    settings = VectorSettings.load(model_dir)
    properties = _cached(asked.properties, asked.artifact, asked.device)
    model = MODELS[settings.task](
        VectorPipeline.opened(model_dir, settings, asked.device, properties),
        recipe=asked.recipe,
        variant=asked.artifact.variant,
        settings=settings,
        announce=asked.announce,
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


def _built(
    project: Project,
    target: str,
    announce: Callable[[str], None],
    *,
    task: TaskName | None,
    unaccepted: bool,
) -> tuple[Recipe, Artifact]:
    """Return the recipe and the artifact of a name."""
    from ovrecipe.recipe.load import check_requirements, load_recipe

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
    from ovrecipe.recipe.load import check_requirements

    if unaccepted:
        remedy = "leave --unaccepted out: only what passed its gates is exported"
        raise NotBuilt(f"{folder} is an export, which no gate has refused", remedy=remedy)
    recipe, artifact = open_export(folder, env)
    check_requirements(recipe)
    return recipe, artifact


def _variants(project: Project, recipe: Recipe, again: Callable[[str], Runner]) -> Variants:
    """Return what else of the recipe is built, and how it is loaded."""

    def sizes_bytes() -> dict[str, int]:
        built = built_artifacts(project, recipe)
        return {name: artifact.weights_bytes for name, artifact in built.items()}

    return Variants(sizes_bytes, lambda variant: again(f"{recipe.name}:{variant}"))


def open_artifact(
    artifact: Artifact,
    device: str,
    *,
    properties: Mapping[str, Any],
    announce: Callable[[str], None],
) -> GenaiPipeline:
    """Load an artifact's model with the attention that it was checked with.

    Raises:
        DeviceUnknown, RunError: OpenVINO cannot load the model there.
    """
    asked = _cached(_with_attention(properties, artifact, device), artifact, device)
    return open_pipeline(artifact.model_dir, device, properties=asked, announce=announce)


def _observe(plugins: Plugins, report: Callable[[str], None]) -> Callable[[Generation], None]:
    """Return what tells the observers of an answer what was asked, and what answered."""
    names = ("recipe", "variant", "question", "messages", "result")

    def tell(generation: Generation) -> None:
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
