"""Which artifact a name means, and what its files say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.json_files import GENERATION_CONFIG, VECTOR_CONFIG, read_object
from ovrecipe.recipe.project import Project, check_variant
from ovrecipe.recipe.schema import OF_SOME, Recipe, settings_of
from ovrecipe.run.prompt import SECTION, tokenizer_config
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.manifest import MANIFEST, check_folder, read_manifest
from ovrecipe.store.store import Store
from ovrecipe.store.views import REFUSED, view_target

#: The fact of a directory that says with which attention of GenAI it answers as its source does:
#: `PA`, `SDPA`, or with neither: `run.steps` runs it then.
ATTENTION = "attention_backend"
STEPS = "steps"
#: Those that answer one prompt at a time, and what that is for.
ONE_PROMPT: Mapping[str, str] = {
    "SDPA": "paged attention, which several take, was wrong for it when it was built",
    STEPS: "OpenVINO GenAI, which several take, was wrong for it when it was built",
}
#: The variant that is run when none is named and it is built.
PREFERRED = "int4"


@dataclass(frozen=True)
class Artifact:
    """A built variant."""

    variant: str
    #: What `LLMPipeline` opens.
    model_dir: Path
    #: For what a device compiles from this very artifact.
    cache_dir: Path

    @property
    def weights_bytes(self) -> int:
        """The size of the weights, which is nearly what the model takes in memory."""
        path = self.model_dir / "openvino_model.bin"
        return path.stat().st_size if path.is_file() else 0

    def context_length(self) -> int | None:
        """Return the number of positions the model was made for; None when it does not say."""
        config = read_object(self.model_dir / "config.json", error=ArtifactCorrupt)
        found = config.get("max_position_embeddings")
        return found if isinstance(found, int) else None

    def parameters(self) -> dict[str, Any]:
        """Return the generation parameters that it carries; {} when it has none."""
        return read_object(self.model_dir / GENERATION_CONFIG, error=ArtifactCorrupt)

    def attention_backend(self) -> str | None:
        """Return `PA`, `SDPA` or `steps`, with which it was checked; None when it does not say.

        Raises:
            ArtifactCorrupt: its manifest is damaged.
        """
        if not (self.model_dir / MANIFEST).is_file():
            return None
        found = read_manifest(self.model_dir).facts.get(ATTENTION)
        return None if found is None else str(found)

    def assistants(self) -> Mapping[str, Any]:
        """Return what was put together with it: `draft`, `prompt_lookup` and `adapters`.

        Raises:
            ArtifactCorrupt: its manifest is damaged.
        """
        if not (self.model_dir / MANIFEST).is_file():
            return {}
        facts = read_manifest(self.model_dir).facts
        return {name: facts[name] for name in OF_SOME if name in facts}

    def is_stale(self, recipe: Recipe) -> bool:
        """Return whether the recipe says something else than when this was built.

        `ovrecipe why` knows of packages and data sets too. One without `PromptSettings`, of an
        older ovrecipe, is stale; one that does not say what it was built from is not.

        Raises:
            ArtifactCorrupt: its manifest is damaged.
        """
        if not (self.model_dir / MANIFEST).is_file():
            return False
        stored = read_manifest(self.model_dir).key
        config = tokenizer_config(self.model_dir)
        if config and SECTION not in config and not (self.model_dir / VECTOR_CONFIG).is_file():
            return True
        wanted = settings_of(recipe, self.variant)
        if any(wanted.get(name) != stored.get(name) for name in OF_SOME):
            return True
        return wanted.keys() <= stored.keys() and not wanted.items() <= stored.items()


def check_content(project: Project, model_dir: Path) -> None:
    """Refuse an artifact whose files are not those that its manifest names.

    Stats tell, and digests where a stat changed. A directory without a manifest is not judged.

    Raises:
        ArtifactCorrupt: a file is missing, or another by now; or the manifest is damaged.
    """
    if (model_dir / MANIFEST).is_file():
        digests = RememberedDigests(Store(project.store_dir).digests_path)
        check_folder(model_dir, digests.sha256)


def find_artifact(
    project: Project, recipe: Recipe, variant: str | None, *, unaccepted: bool = False
) -> Artifact:
    """Return the artifact of a variant; without one, int4 if built, else the smallest built.

    With `unaccepted` it is what a gate refused, which has no name.

    Raises:
        RecipeNotFound: the recipe has no such variant.
        NotBuilt: with the command that builds it.
    """
    if variant is not None:
        check_variant(recipe, variant)
    built = built_artifacts(project, recipe, unaccepted=unaccepted)
    if variant is None and built:
        smallest = min(built.values(), key=lambda artifact: artifact.weights_bytes)
        return built.get(PREFERRED, smallest)
    if variant not in built:
        target = f"{recipe.name}:{variant}" if variant else recipe.name
        if unaccepted:
            raise NotBuilt(
                f"{target}: no gate has refused it", remedy="run it without --unaccepted"
            )
        raise not_built(
            target, refused=variant in built_artifacts(project, recipe, unaccepted=True)
        )
    return built[variant]


def built_artifacts(
    project: Project, recipe: Recipe, *, unaccepted: bool = False
) -> dict[str, Artifact]:
    """Return the built variants in the recipe's order; with `unaccepted` the refused ones."""
    cache_dir, models_dir = Store(project.store_dir).cache_dir, project.models_dir
    if unaccepted:
        models_dir /= REFUSED
    targets = {name: view_target(models_dir, recipe.name, name) for name in recipe.variants}
    return {
        name: Artifact(name, model_dir, cache_dir(model_dir.name))
        for name, model_dir in targets.items()
        if model_dir is not None
    }


def not_built(target: str, how: str = "built", *, refused: bool = False) -> NotBuilt:
    """Return the error for `NAME` or `NAME:VARIANT`, with the command that helps."""
    if refused:
        return NotBuilt(
            f"{target} was refused by a gate, so it has no name",
            remedy=f"'ovrecipe why {target}' says why; "
            f"'ovrecipe run {target} --unaccepted' opens it all the same",
        )
    what = "" if ":" in target else "no variant of "
    return NotBuilt(
        f"{what}{target} is {'' if what else 'not '}{how}",
        remedy=f"build it with: ovrecipe build {target}",
    )
