"""An export: a folder with all of a variant, opened where there is neither project nor store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError

from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt, RecipeError
from ovrecipe.recipe.problems import problems_of
from ovrecipe.recipe.schema import Recipe
from ovrecipe.run.artifact import Artifact
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.manifest import MANIFEST, MISSING, SHA256, UPGRADE, inside

#: What makes a folder an export; written as its last file.
EXPORT = "ovrecipe.json"
#: Raised when an older ovrecipe would misunderstand an export.
SCHEMA = 1
CACHE_VARIABLE = "OVRECIPE_CACHE"
AGAIN = "export it again: ovrecipe export NAME[:VARIANT] DIR, or copy it again"
#: Beyond any that was written: the largest part is the recipe.
MAX_BYTES = 16_000_000


class ExportedFile(BaseModel, frozen=True, extra="forbid"):
    """What a file of an export was when it was written."""

    size_bytes: Annotated[int, Field(strict=True, ge=0)]
    sha256: Annotated[str, Field(pattern=f"^{SHA256.pattern}$")]


Files = dict[Annotated[str, AfterValidator(inside)], ExportedFile]


class Export(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What `ovrecipe.json` says; no path of the machine that wrote it stands in it.

    `files` are the model's; `beside` are the pages and settings that were written for people and
    servers, which may be changed. `gates` has what each gate found, by stage.
    """

    name: str
    variant: str
    recipe: dict[str, JsonValue]
    #: The sha256 of the key that the directory was built for, and those of what it was made from.
    artifact: Annotated[str, Field(pattern=f"^{SHA256.pattern}$")]
    made_from: dict[str, str]
    #: What the source said of the checkpoint: its commit, or the digests of its files.
    source: dict[str, JsonValue]
    attention_backend: str | None
    #: What was put together with the model: `prompt_lookup`, `adapters`, and `draft`, which stays.
    assistants: dict[str, JsonValue] = Field(default_factory=dict)
    gates: dict[str, dict[str, JsonValue]]
    versions: dict[str, str | None]
    created: str
    files: Files
    beside: Files
    made_by: str
    schema_version: Literal[1] = Field(default=1, alias="schema")

    @property
    def target(self) -> str:
        """What it was exported from, `NAME:VARIANT`."""
        return f"{self.name}:{self.variant}"

    def as_text(self) -> str:
        """Return the text of `ovrecipe.json`."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class ExportedArtifact(Artifact):
    """The model of an export."""

    attention: str | None = None
    own_assistants: Mapping[str, Any] = field(default_factory=dict)

    def attention_backend(self) -> str | None:
        """Return `PA`, `SDPA` or `steps`, with which the model was checked."""
        return self.attention

    def assistants(self) -> Mapping[str, Any]:
        """Return what was put together with it."""
        return self.own_assistants

    def is_stale(self, recipe: Recipe) -> bool:  # noqa: ARG002
        """Return False: an export has the recipe that it was built from."""
        return False


def export_folder(target: str | PathLike[str]) -> Path | None:
    """Return the folder that a target means, `./out` or `/srv/out`; None for a recipe's name."""
    text = fspath(target)
    is_path = not isinstance(target, str) or text in {".", ".."} or "/" in text or "\\" in text
    return Path(text).expanduser() if is_path else None


def read_export(folder: Path) -> Export:
    """Return what an export says of itself.

    Raises:
        NotBuilt: there is no export.
        ArtifactTooNew: a newer ovrecipe wrote it.
        ArtifactCorrupt: `ovrecipe.json` is not what ovrecipe wrote.
    """
    path = folder / EXPORT
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES)
        return Export.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _no_export(folder) from error
    except OSError as error:
        raise ArtifactCorrupt(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        if (schema := _schema_of(text)) > SCHEMA:
            message = f"{path}: a newer ovrecipe wrote it (schema {schema}, this one: {SCHEMA})"
            raise ArtifactTooNew(message, remedy=UPGRADE) from error
        first = problems_of(error, model=Export)[0]
        raise ArtifactCorrupt(f"{path}: {first}", remedy=AGAIN) from error


def _schema_of(text: bytes) -> int:
    document: object = None
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
    found = document.get("schema") if isinstance(document, dict) else None
    return found if isinstance(found, int) else 0


def _no_export(folder: Path) -> NotBuilt:
    """Return the error for a folder that ovrecipe cannot open, with what it is instead."""
    export = "'ovrecipe export NAME DIR' writes a folder that can be copied"
    if folder.is_symlink() and not folder.exists():
        message = f"{folder} is a link to {folder.readlink()}, which is not here"
        remedy = f"a plain copy of models/ has links, not files; {export}"
        return NotBuilt(message, remedy=remedy)
    if folder.is_file():
        return NotBuilt(f"{folder} is a file, not a folder", remedy="unpack it first: tar -xf")
    if not folder.is_dir():
        return NotBuilt(f"{folder}: no such folder", remedy=export)
    if (folder / MANIFEST).is_file():
        message = f"{folder} has a built model without its recipe, so its filters are unknown"
        remedy = f"any OpenVINO program opens it; for ovrecipe name it NAME:VARIANT, or: {export}"
        return NotBuilt(message, remedy=remedy)
    return NotBuilt(f"{folder} has no {EXPORT}, so it is no export", remedy=export)


def file_problem(path: Path, entry: ExportedFile, sha256: Callable[[Path], str]) -> str | None:
    """Return how a file differs from what was exported; None when it does not."""
    try:
        size_bytes = path.stat().st_size
        if not path.is_file():
            return "is no file"
        if size_bytes != entry.size_bytes:
            return f"has {size_bytes} bytes, and had {entry.size_bytes}"
        if sha256(path) != entry.sha256:
            return "has other bytes than when it was exported"
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def check_export(folder: Path, export: Export, sha256: Callable[[Path], str]) -> None:
    """Refuse an export whose model is not what was exported.

    Raises:
        ArtifactCorrupt: with the file.
    """
    for name, entry in export.files.items():
        if problem := file_problem(folder / name, entry, sha256):
            raise ArtifactCorrupt(f"{folder / name}: {problem}", remedy=AGAIN)


def user_cache_dir(env: Mapping[str, str]) -> Path:
    """Return where digests of exports' files, and what a device compiled of them, are kept."""
    from platformdirs import user_cache_path

    named = env.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("ovrecipe", appauthor=False)


def exported_digests(env: Mapping[str, str]) -> RememberedDigests:
    """Return digests that are remembered for this user; where nothing can be kept, for once."""
    folder = user_cache_dir(env)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return RememberedDigests(folder / "digests.json")


def recipe_of(folder: Path, export: Export) -> Recipe:
    """Return the recipe that an export was built from.

    Raises:
        RecipeError: this ovrecipe does not understand it.
    """
    document: dict[str, Any] = {**export.recipe, "name": export.name, "path": folder / EXPORT}
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        first = problems_of(error, model=Recipe)[0]
        message = f"{folder / EXPORT}: recipe: {first}"
        raise RecipeError(message, remedy=f"{export.made_by} wrote it; {UPGRADE}") from error
    if export.variant not in recipe.variants:
        message = f"{folder / EXPORT}: its recipe has no variant '{export.variant}'"
        raise RecipeError(message, remedy=AGAIN)
    return recipe


def open_export(folder: Path, env: Mapping[str, str]) -> tuple[Recipe, ExportedArtifact]:
    """Return the recipe and the model of an export.

    Every file is hashed when it is first used on this machine; from then on its stat tells.

    Raises:
        NotBuilt: there is no export.
        ArtifactCorrupt: a file is not what was exported.
        ArtifactTooNew, RecipeError: this ovrecipe does not understand it.
    """
    export = read_export(folder)
    recipe = recipe_of(folder, export)
    check_export(folder, export, exported_digests(env).sha256)
    cache_dir = user_cache_dir(env) / "compiled" / export.artifact
    return recipe, ExportedArtifact(
        export.variant, folder, cache_dir, export.attention_backend, export.assistants
    )
