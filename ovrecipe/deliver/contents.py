"""What an export has: the model's files, pages and settings beside them, and `ovrecipe.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.execute import ViewWork
from ovrecipe.build.run import Target, built_manifests
from ovrecipe.builtin.vector_settings import VectorSettings
from ovrecipe.deliver.ovms import ovms_files
from ovrecipe.deliver.readme import README, readme
from ovrecipe.deliver.uses import ovms_objection
from ovrecipe.errors import NotBuilt, ProjectError
from ovrecipe.recipe.schema import OF_SOME
from ovrecipe.recipe.tasks import GENERATION
from ovrecipe.run.artifact import ATTENTION, STEPS, check_content
from ovrecipe.run.exported import EXPORT, Export, ExportedFile
from ovrecipe.store.manifest import Manifest
from ovrecipe.store.store import Store
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext


@dataclass(frozen=True)
class Contents:
    """An export before it is written anywhere: the same for a folder, a tar file and the hub."""

    export: Export
    #: The artifact whose files are the model.
    model_dir: Path
    store: Store = field(repr=False)
    #: What is written beside the model, by name.
    texts: Mapping[str, str] = field(repr=False)

    @property
    def folder_name(self) -> str:
        """What the export is called where it needs a name: `smollm2-135m-int4`."""
        return self.export.target.replace(":", "-")

    @property
    def entries(self) -> dict[str, Path | bytes]:
        """Every file by name, `ovrecipe.json` last: a path of the artifact, or the bytes."""
        files: dict[str, Path | bytes] = {name: self.model_dir / name for name in self.export.files}
        files |= {name: text.encode() for name, text in self.texts.items()}
        return {**files, EXPORT: self.export.as_text().encode()}

    @property
    def size_bytes(self) -> int:
        """The size of all files but `ovrecipe.json`."""
        files = [*self.export.files.values(), *self.export.beside.values()]
        return sum(file.size_bytes for file in files)


def contents_of(context: BuildContext, target: Target, *, ovms: bool = False) -> Contents:
    """Return what an export of a built variant has; with `ovms` also what OVMS reads.

    Raises:
        ProjectError: OVMS would answer otherwise than ovrecipe.
        NotBuilt: it is not built from its recipe of now, or a gate refused it.
        ArtifactCorrupt: one of its files is not what was built.
    """
    plan = context.plan(target.name)
    if not ViewWork(plan, target.variant).is_up_to_date():
        remedy = f"build it with 'ovrecipe build {target}'; 'ovrecipe why {target}' says what is"
        raise NotBuilt(f"{target} is not built from its recipe of now", remedy=f"{remedy} missing")
    assembled = ViewWork(plan, target.variant).assembled
    manifests = built_manifests(context, target)
    directory = manifests[assembled.kind]
    model_dir = context.store.root / directory.stage / directory.sha256
    check_content(context.project, model_dir)
    gates = {stage.name for stage in context.stages if stage.is_gate}
    recipe = plan.recipe
    document = recipe.model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude={"name", "path", "extends"}
    )
    attention = directory.facts.get(ATTENTION)
    export = Export(
        name=target.name,
        variant=target.variant,
        recipe=document,
        artifact=directory.sha256,
        made_from={stage: manifest.sha256 for stage, manifest in manifests.items()},
        source=dict(plan.pin),
        attention_backend=None if attention is None else str(attention),
        assistants={name: directory.facts[name] for name in OF_SOME if name in directory.facts},
        gates={name: made.facts for name, made in manifests.items() if name in gates},
        versions=_versions(manifests),
        created=directory.created,
        files={
            name: ExportedFile(size_bytes=entry.size_bytes, sha256=entry.sha256)
            for name, entry in directory.files.items()
        },
        beside={},
        made_by=f"ovrecipe {__version__}",
    )
    objection = ovms_objection(export)
    if ovms and objection:
        other = "run' answers" if export.attention_backend == STEPS else "serve' serves it"
        remedy = f"leave --ovms out; 'ovrecipe {other}"
        raise ProjectError(f"--ovms: {objection}", remedy=remedy)
    settings = None if recipe.task == GENERATION else VectorSettings.load(model_dir)
    texts = {README: readme(export, settings, ovms=ovms)} | (ovms_files(export) if ovms else {})
    beside = {name: _described(text) for name, text in texts.items()}
    export = export.model_copy(update={"beside": beside})
    return Contents(export, model_dir, context.store, texts)


def _versions(manifests: Mapping[str, Manifest]) -> dict[str, str | None]:
    """Return the versions of all packages at work."""
    return {name: version for made in manifests.values() for name, version in made.tools.items()}


def _described(text: str) -> ExportedFile:
    data = text.encode()
    return ExportedFile(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
