"""Built variants, with what is known and kept of the source that each was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import NotBuilt, OvrecipeError
from ovrecipe.hooks.roles import silent
from ovrecipe.json_files import read_object
from ovrecipe.measure.encoder import Encoder
from ovrecipe.measure.evaluation import Evaluation, Source, evaluated
from ovrecipe.measure.models import EXACTLY
from ovrecipe.measure.texts import Texts
from ovrecipe.recipe.project import Project, named_by
from ovrecipe.recipe.schema import Recipe, check_task
from ovrecipe.recipe.tasks import GENERATION
from ovrecipe.run.artifact import (
    Artifact,
    built_artifacts,
    check_content,
    find_artifact,
    not_built,
)
from ovrecipe.store.disk import disk_errors, replace_atomically
from ovrecipe.store.locks import used
from ovrecipe.store.manifest import read_manifest
from ovrecipe.store.store import Store
from ovrecipe.types import Json, Progress
from ovrecipe.version import package_version


@dataclass(frozen=True)
class Built:
    """A built variant, and what it was made from."""

    target: str
    project: Project
    artifact: Artifact

    @property
    def store(self) -> Store:
        """The project's store."""
        return Store(self.project.store_dir)

    def __str__(self) -> str:
        return self.target

    @property
    def reference_dir(self) -> Path:
        """The artifact with the source's word."""
        return self._input("reference", self.artifact.model_dir)

    @property
    def cache_dir(self) -> Path:
        """Where more of what the source says is kept; `gc` removes it with the reference."""
        return self.store.cache_dir(self.reference_dir.name) / "evaluation"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `gc` from removing it meanwhile."""
        with ExitStack() as stack:
            for folder in (self.artifact.model_dir.resolve(), self.reference_dir):
                stack.enter_context(used(self.store.use_path(folder.name)))
            yield

    def evaluated(
        self, texts: Texts, *, examples: int = 0, progress: Progress = silent
    ) -> Evaluation:
        """Compare it with its source along texts; what the source says is asked for once.

        Raises:
            NotBuilt: the source has to be asked, and was collected.
            GateError: a logit is not finite.
        """
        source = Source(self.open_base, texts, self.cache_dir)
        source.prepare(progress)
        return evaluated(self.artifact.model_dir, source, examples=examples, progress=progress)

    def figures(self, *, tokens: int, progress: Progress = silent) -> Mapping[str, Json]:
        """Return what `evaluated` finds over the source's own texts; kept beside the artifact.

        Raises:
            NotBuilt: the source has to be asked, and was collected.
            GateError: a logit is not finite.
        """
        texts = Encoder(self.artifact.model_dir).written(tokens=tokens)
        name = Source(self.open_base, texts, self.cache_dir).name
        path = self.artifact.cache_dir / f"figures-{name}.json"
        measured_with: dict[str, Json] = {"openvino": package_version("openvino")}
        with suppress(OvrecipeError):
            kept = read_object(path)
            if kept.get("with") == measured_with and isinstance(kept.get("figures"), dict):
                return dict(kept["figures"])
        found = self.evaluated(texts, progress=progress).figures.facts()
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            document = json.dumps({"with": measured_with, "figures": found})
            replace_atomically(path, document, durable=False)
        return found

    def open_base(self) -> StatefulModel:
        """Open the base IR.

        Raises:
            NotBuilt: it was collected.
            ArtifactCorrupt: one of its files is not what was built.
        """
        base_dir = self._input("base", self.reference_dir)
        if not base_dir.is_dir():
            name = self.target.partition(":")[0]
            raise NotBuilt(
                f"{self}: the base IR, which the texts are read by first, was collected",
                remedy=f"make it again with: doit base:{name}",
            )
        check_content(self.project, base_dir)
        return StatefulModel(base_dir, EXACTLY)

    def _input(self, stage: str, artifact_dir: Path) -> Path:
        inputs = read_manifest(artifact_dir).key.get("inputs")
        sha256 = inputs.get(stage) if isinstance(inputs, dict) else None
        if sha256 is None:
            raise NotBuilt(
                f"{self} was built by an older ovrecipe, which asked its source nothing",
                remedy=f"build it again with: ovrecipe build {self}",
            )
        return self.store.root / stage / str(sha256)


def built_variants(
    project: Project,
    words: Sequence[str],
    *,
    read: Callable[[str], Recipe],
    unaccepted: bool = False,
) -> Iterator[Built]:
    """Yield the built variants that the words name, each once; `unaccepted` the refused ones.

    Raises:
        RecipeError: a recipe or a variant does not exist.
        NotBuilt: a variant that is named is not built, or none of a recipe is.
        ArtifactCorrupt: a file of one is not what was built.
    """
    found: dict[str, Built] = {}
    for word in words:
        recipe, variant = named_by(word, read)
        check_task(recipe, GENERATION)
        if variant is None:
            built = built_artifacts(project, recipe, unaccepted=unaccepted)
            artifacts = list(built.values())
        else:
            artifacts = [find_artifact(project, recipe, variant, unaccepted=unaccepted)]
        if not artifacts:
            raise not_built(recipe.name)
        for artifact in artifacts:
            check_content(project, artifact.model_dir)
            target = f"{recipe.name}:{artifact.variant}"
            found[target] = Built(target, project, artifact)
    yield from found.values()
