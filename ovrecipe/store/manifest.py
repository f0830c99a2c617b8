"""What an artifact says about itself; written last, so its presence means that all is there."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.store.key import inputs_of

MANIFEST = "manifest.json"
SHA256 = re.compile(r"[0-9a-f]{64}")
REBUILD = "'ovrecipe verify --remove' drops it, the next build makes it again"


def _inside(name: str) -> str:
    """Refuse a name that is no clean relative path: a manifest must not lead out of its folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or name == "." or pure.as_posix() != name:
        raise ValueError("is no path inside the artifact")
    return name


class FileEntry(BaseModel, frozen=True, extra="forbid"):
    """One file; a `link` leads out of the store to a file of the user's or of a hub's cache."""

    size_bytes: Annotated[int, Field(strict=True, ge=0)]
    sha256: Annotated[str, Field(pattern=f"^{SHA256.pattern}$")]
    link: Annotated[bool, Field(strict=True)] = False


class Manifest(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """An artifact's files, its key, and how it was made.

    `files` is by relative posix path; `tools` maps distributions to versions; `facts` is what
    the stage wants remembered (counts, results of gates). No absolute path stands in it.
    """

    stage: str
    sha256: str
    key: dict[str, JsonValue]
    files: dict[Annotated[str, AfterValidator(_inside)], FileEntry]
    created: str
    tools: dict[str, str | None]
    #: Written by an older ovrecipe; nothing reads it.
    provider: JsonValue = Field(default=None, exclude=True)
    facts: dict[str, JsonValue]
    peak_memory_bytes: Annotated[int, Field(strict=True)] | None
    #: Not strict: JSON knows no difference between 1 and 1.0.
    seconds: float | None
    schema_version: Literal[1] = Field(default=1, alias="schema")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The sha256 of the keys that this artifact was made from."""
        return inputs_of(self.key)

    @property
    def size_bytes(self) -> int:
        """The size of the files that lie in the artifact itself."""
        return sum(entry.size_bytes for entry in self.files.values() if not entry.link)

    def known_digests(self) -> dict[str, tuple[int, str]]:
        """Return (size, sha256) by path, for `publish` of an artifact that links these files."""
        return {name: (entry.size_bytes, entry.sha256) for name, entry in self.files.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the manifest as manifest.json has it."""
        return self.model_dump(mode="json", by_alias=True)


def read_manifest(artifact_dir: Path) -> Manifest:
    """Read and check the manifest of a published artifact; strict, for `gc` and `verify` trust it.

    Raises:
        NotBuilt: there is no such artifact.
        ArtifactCorrupt: the manifest is not one that this version wrote.
    """
    path = artifact_dir / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotBuilt(f"{artifact_dir} is not in the store", remedy="build it") from error
    except ValidationError as error:
        raise ArtifactCorrupt(f"{path}: {_complaint(error)}", remedy=REBUILD) from error


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"is not JSON ({first['ctx']['error']})"
    where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{where}: {what.lower()}" if where else "is not a mapping"
