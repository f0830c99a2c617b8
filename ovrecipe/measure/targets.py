"""From `NAME[:VARIANT]`, devices and peers to what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ovrecipe.builtin.gguf import DistributionSource, GgufSource
from ovrecipe.errors import PromptRefused, RunError
from ovrecipe.hooks.roles import SourceRequest
from ovrecipe.measure.built import built_variants
from ovrecipe.measure.peers import LLAMA_CPP, PEERS
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import OURS, Subject
from ovrecipe.recipe.project import Project, named_by
from ovrecipe.recipe.schema import Recipe, split_model_id
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.store import Store
from ovrecipe.version import package_version

if TYPE_CHECKING:
    from ovrecipe.run.artifact import Artifact

OUR_PACKAGES = ("ovrecipe", "openvino", "openvino-genai")


def subjects_of(
    targets: Sequence[str],
    settings: Settings,
    *,
    project: Project,
    read: Callable[[str], Recipe],
    devices: Sequence[str],
    peers: Sequence[str],
) -> list[Subject]:
    """Return each variant on each device, with its peers beside it.

    Raises:
        NotBuilt, RecipeError: nothing of that name is built.
        ArtifactCorrupt: what is built is damaged.
        PromptRefused: a model has fewer positions than are asked for.
        RunError: llama-cpp is to be measured, and the recipe's source is no GGUF.
    """
    engines = [OURS, *(name for name in peers if name != LLAMA_CPP)]
    found: list[Subject] = []
    for target in targets:
        for built in built_variants(project, [target], read=read):
            _check_room(built.target, built.artifact, settings)
            key = built.artifact.model_dir.name
            found += [
                Subject(built.target, key, device, engine, versions_of(engine))
                for device in devices
                for engine in engines
            ]
        if LLAMA_CPP in peers:
            recipe, _ = named_by(target, read)
            found.append(_gguf_subject(recipe, project))
    return list(dict.fromkeys(found))


def _check_room(name: str, artifact: Artifact, settings: Settings) -> None:
    room, wanted = artifact.context_length(), settings.longest()
    if room is not None and wanted > room:
        raise PromptRefused(
            f"{name} has {room} positions, and the longest prompt and answer need {wanted}",
            remedy="give shorter --prompt-tokens or fewer --max-new-tokens",
        )


def versions_of(engine: str) -> dict[str, str | None]:
    """Return the versions that a figure depends on."""
    names = OUR_PACKAGES if engine == OURS else PEERS[engine].packages
    return {name: package_version(name) for name in names}


def _gguf_subject(recipe: Recipe, project: Project) -> Subject:
    """Return the GGUF file that a recipe names, for llama.cpp; it runs on the CPU.

    Raises:
        RunError: the recipe's source is none.
        SourceError: the file is not there.
    """
    scheme, location = split_model_id(recipe.model.id)
    sources = {"gguf": GgufSource, "dist": DistributionSource}
    if scheme not in sources:
        message = f"--peer llama-cpp: {recipe.name} is not made from a GGUF file"
        raise RunError(message, remedy=f"its source is {recipe.model.id}; leave the peer out")
    digests = RememberedDigests(Store(project.store_dir).digests_path)
    request = SourceRequest(recipe=recipe, location=location, env=project.env, digests=digests)
    source = sources[scheme]()
    sha256 = str(source.pin(request)["sha256"])
    path = str(source.path(request))
    return Subject(recipe.name, sha256, "CPU", LLAMA_CPP, versions_of(LLAMA_CPP), path)
