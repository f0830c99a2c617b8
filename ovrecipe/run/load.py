"""From `NAME[:VARIANT]` to a `Runner`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import RunError
from ovrecipe.recipe.load import check_requirements, load_recipe
from ovrecipe.recipe.project import Project, find_project, named_by, split_target
from ovrecipe.run.artifact import Artifact, built_artifacts, check_content, find_artifact
from ovrecipe.run.assistants import (
    NONE,
    WRITTEN_AHEAD,
    Assistants,
    check_adapter,
    sampling_refused,
    vocabulary_objection,
)
from ovrecipe.run.chain import chosen_filters
from ovrecipe.run.genai import (
    ATTENTION_BACKEND,
    GenaiPipeline,
    check_parameters,
    open_pipeline,
)
from ovrecipe.run.parameters import merged
from ovrecipe.run.prompt import read_template
from ovrecipe.run.runner import Runner, Variants
from ovrecipe.store.disk import disk_errors

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.run.generation import Generation


def load(
    target: str,
    device: str = "CPU",
    *,
    project: Project | None = None,
    plugins: Plugins | None = None,
    warm_up: bool = False,
    announce: Callable[[str], None] | None = None,
    generation: Mapping[str, Any] | None = None,
    unaccepted: bool = False,
    draft: str | None = None,
    prompt_lookup: bool | None = None,
    **properties: Any,
) -> Runner:
    """Load a built variant, `NAME:VARIANT` or `NAME`, and return its `Runner`.

    Without a variant it is int4 if built, else the smallest that is. `project` is looked for
    from the working folder upwards, `plugins` are the installed ones. `properties` go to
    OpenVINO (`PERFORMANCE_HINT="LATENCY"`). `announce` is told what runs another way than asked
    for, or was built from other settings than the recipe's; it prints to stderr unless given.
    `generation` are parameters that will be asked with: wrong ones are refused before loading.
    `unaccepted` opens what a gate refused, for study. `draft` (`NAME:VARIANT`, "" for none) and
    `prompt_lookup` count in place of the recipe's.

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

    project = project or find_project(Path.cwd(), dict(os.environ))
    plugins = plugins or load_plugins(env=project.env)
    announce = announce or _to_stderr
    name, variant = split_target(target)
    recipe = load_recipe(project, name)
    check_requirements(recipe)
    artifact = find_artifact(project, recipe, variant, unaccepted=unaccepted)
    check_content(project, artifact.model_dir)
    if unaccepted:
        announce(f"{name}:{artifact.variant} was refused by a gate; do not trust what it says")

    def sizes_bytes() -> dict[str, int]:
        built = built_artifacts(project, recipe)
        return {name: artifact.weights_bytes for name, artifact in built.items()}

    again = partial(load, device=device, project=project, plugins=plugins, announce=announce)

    def sibling(variant: str) -> Runner:
        return again(
            f"{name}:{variant}",
            warm_up=warm_up,
            draft=None if draft == f"{name}:{variant}" else draft,
            prompt_lookup=prompt_lookup,
            **properties,
        )

    # What can be refused without the model is refused before it is loaded.
    if artifact.is_stale(recipe):
        found = f"{name}:{artifact.variant}"
        announce(f"{found} was built from other settings; see 'ovrecipe why {found}'")
    filters = chosen_filters(recipe, plugins)
    template = read_template(artifact.model_dir)
    assistants = assistants_of(project, artifact, draft=draft, prompt_lookup=prompt_lookup)
    parameters, context_length = artifact.parameters(), artifact.context_length()
    if generation is not None:
        asked = merged(generation)
        check_adapter(asked.get("adapter", ""), assistants.adapters)
        if assistants.draft_dir is not None and {**parameters, **asked}.get("do_sample"):
            raise sampling_refused()
        check_parameters(asked, artifact.model_dir)
    runner = Runner(
        open_artifact(
            artifact, device, properties=properties, announce=announce, assistants=assistants
        ),
        recipe=recipe,
        variant=artifact.variant,
        template=template,
        parameters=parameters,
        filters=filters,
        context_length=context_length,
        variants=Variants(sizes_bytes, sibling),
        observe=_observe(plugins, announce),
    )
    try:
        if warm_up:
            runner.warm_up()
    except BaseException:
        runner.close()
        raise
    return runner


def open_artifact(
    artifact: Artifact,
    device: str,
    *,
    properties: Mapping[str, Any],
    announce: Callable[[str], None],
    assistants: Assistants = NONE,
) -> GenaiPipeline:
    """Load an artifact's model with the attention that it was checked with.

    Raises:
        DeviceUnknown, RunError: OpenVINO cannot load the model there.
    """
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
    project: Project, artifact: Artifact, *, draft: str | None, prompt_lookup: bool | None
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
    lookup = (own.prompt_lookup and not draft) if prompt_lookup is None else prompt_lookup
    if (drafted or lookup) and artifact.attention_backend() == "SDPA":
        raise RunError(
            "paged attention computes this model wrongly, and GenAI writes ahead with nothing else",
            remedy="leave out the draft model and prompt lookup",
        )
    draft_dir = draft_directory(project, artifact, drafted) if drafted else None
    return replace(own, draft_dir=draft_dir, prompt_lookup=lookup)


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
