"""What an artifact says about itself, written as its last file, and whether that is true."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.store.digests import sha256_of
from ovrecipe.store.disk import files_below
from ovrecipe.store.key import Key, inputs_of
from ovrecipe.types import Progress
from ovrecipe.wording import SHORT

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
        from ovrecipe.recipe.problems import problems_of

        first = problems_of(error, model=Manifest)[0]
        raise ArtifactCorrupt(f"{path}: {first}", remedy=REBUILD) from error


class Damage(NamedTuple):
    """What is wrong with an artifact; `file` is None when it is the artifact as a whole."""

    stage: str
    sha256: str
    file: str | None
    message: str


def verify(
    folders: Iterable[tuple[str, str, Path]], *, progress: Progress | None = None
) -> list[Damage]:
    """Return every difference between artifacts, as `Store.folders` has them, and their manifests.

    Raises:
        OSError: a file cannot be read at all, which is the disk's problem, not the artifact's.
    """
    chosen = list(folders)
    problems: list[Damage] = []
    for index, (stage, sha256, folder) in enumerate(chosen):
        if progress is not None:
            progress(f"{stage} {sha256[:SHORT]}", done=index, total=len(chosen))
        problems += [Damage(stage, sha256, *found) for found in _problems(sha256, folder)]
    return problems


def _problems(sha256: str, folder: Path) -> Iterator[tuple[str | None, str]]:
    try:
        manifest = read_manifest(folder)
    except NotBuilt:
        yield None, f"{MANIFEST} is missing"
        return
    except ArtifactCorrupt as error:
        yield None, error.message.removeprefix(f"{folder}/")
        return
    if (manifest.stage, manifest.sha256) != (folder.parent.name, sha256):
        yield None, f"{MANIFEST} belongs to {manifest.stage} {manifest.sha256[:SHORT]}"
    elif Key(manifest.stage, manifest.key).sha256 != sha256:
        yield None, f"the key in {MANIFEST} is not the one the artifact was built for"
    present = {path.relative_to(folder).as_posix(): path for path in files_below(folder)}
    for name in sorted(set(present) - set(manifest.files) - {MANIFEST}):
        yield name, "is not in the manifest"
    for name, entry in manifest.files.items():
        message = _file_problem(present[name], entry) if name in present else "is missing"
        if message is not None:
            yield name, message


def _file_problem(path: Path, entry: FileEntry) -> str | None:
    if path.is_symlink() != entry.link:
        return "was a link and is a file" if entry.link else "was a file and is a link"
    if not path.is_file():
        return f"links to {path.readlink()}, which is gone"
    where = f"the file it links to, {path.readlink()}, " if entry.link else ""
    size_bytes = path.stat().st_size
    if size_bytes != entry.size_bytes:
        return f"{where}has {size_bytes} bytes, and had {entry.size_bytes}"
    if sha256_of(path) != entry.sha256:
        return f"{where}has other bytes than when it was made"
    return None
