"""What an artifact says about itself, written as its last file, and whether that is true."""

import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError

from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt
from ovrecipe.store.digests import sha256_of
from ovrecipe.store.disk import files_below
from ovrecipe.store.key import Key, inputs_of
from ovrecipe.types import Progress
from ovrecipe.wording import SHORT

MANIFEST = "manifest.json"
#: Raised when a manifest gets a field or a meaning that an older ovrecipe would not understand.
SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")
REBUILD = "'ovrecipe verify --remove' drops it, the next build makes it again"
YOURS = f"build again when you changed that file; else {REBUILD}"
UPGRADE = "upgrade ovrecipe: pip install --upgrade ovrecipe"
MISSING, GONE = "is missing", "which is gone"


def inside(name: str) -> str:
    """Refuse a name that is no clean relative path: a manifest must not lead out of its folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or name == "." or pure.as_posix() != name:
        raise ValueError("is no path inside the artifact")
    return name


class FileEntry(BaseModel, frozen=True, extra="forbid"):
    """One file; a `link` leads out of the store to a file of the user's or of a hub's cache.

    `mtime_ns` is when a file of the store was last written to; None for a link, and where an
    older ovrecipe did not note it.
    """

    size_bytes: Annotated[int, Field(strict=True, ge=0)]
    sha256: Annotated[str, Field(pattern=f"^{SHA256.pattern}$")]
    link: Annotated[bool, Field(strict=True)] = False
    mtime_ns: Annotated[int, Field(strict=True)] | None = None


class Manifest(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """An artifact's files, its key, and how it was made.

    `files` is by relative posix path; `tools` maps distributions to versions; `facts` is what
    the stage wants remembered (counts, results of gates). No absolute path stands in it.
    """

    stage: str
    sha256: str
    key: dict[str, JsonValue]
    files: dict[Annotated[str, AfterValidator(inside)], FileEntry]
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
        ArtifactTooNew: a newer version wrote the manifest.
        ArtifactCorrupt: the manifest is not one that this version wrote.
    """
    path = artifact_dir / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotBuilt(f"{artifact_dir} is not in the store", remedy="build it") from error
    return parse_manifest(text, str(path))


def parse_manifest(text: bytes, shown: str, *, remedy: str = REBUILD) -> Manifest:
    """Return the manifest that a text is; messages call it `shown`.

    Raises:
        ArtifactTooNew, ArtifactCorrupt: as `read_manifest`.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        from ovrecipe.recipe.problems import problems_of

        if (schema := _schema_of(text)) > SCHEMA:
            message = (
                f"{shown}: a newer ovrecipe wrote it (schema {schema}, this one reads {SCHEMA})"
            )
            raise ArtifactTooNew(message, remedy=UPGRADE) from error
        first = problems_of(error, model=Manifest)[0]
        raise ArtifactCorrupt(f"{shown}: {first}", remedy=remedy) from error


def _schema_of(text: bytes) -> int:
    """Return the schema that a manifest says it has, 0 when it says none."""
    document: object = None
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
    found = document.get("schema") if isinstance(document, dict) else None
    return found if isinstance(found, int) else 0


def stat_problem(folder: Path, manifest: Manifest) -> str | None:
    """Return the first difference between an artifact and its manifest that stats tell, or None."""
    for name, entry in manifest.files.items():
        if message := _stat_problem(folder / name, entry):
            return f"{name} {message}"
    return None


def content_problem(
    folder: Path, manifest: Manifest, sha256: Callable[[Path], str]
) -> tuple[str, str] | None:
    """Return the file that is not what it was, and what is wrong with it; None when all are.

    `sha256` is asked only about links and about files that were written to since they were made.
    """
    for name, entry in manifest.files.items():
        path = folder / name
        try:
            message = _stat_problem(path, entry)
            if message is None and (entry.link or path.stat().st_mtime_ns != entry.mtime_ns):
                message = _content_problem(path, entry, sha256)
        except FileNotFoundError:  # a moment ago it was there
            message = MISSING
        if message is not None:
            return name, message
    return None


def check_folder(folder: Path, sha256: Callable[[Path], str]) -> None:
    """Refuse an artifact that is not what it was; `sha256` is asked where stats changed.

    Raises:
        NotBuilt: there is no such artifact.
        ArtifactTooNew: a newer ovrecipe made it.
        ArtifactCorrupt: its manifest is damaged, or a file is missing or another.
    """
    manifest = read_manifest(folder)
    found = content_problem(folder, manifest, sha256)
    if found is not None:
        file, message = found
        remedy = YOURS if manifest.files[file].link else REBUILD
        name = f"{manifest.stage} {folder.name[:SHORT]}"
        raise ArtifactCorrupt(f"{name}: {file}: {message}", remedy=remedy)


class Damage(NamedTuple):
    """What is wrong with an artifact; `file` is None when it is the artifact as a whole.

    `spreads`: what was made from it may be wrong too. A link that leads nowhere gave nobody wrong
    bytes.
    """

    stage: str
    sha256: str
    file: str | None
    message: str
    spreads: bool


def verify(
    folders: Iterable[tuple[str, str, Path]],
    *,
    too_new: Callable[[ArtifactTooNew], None] | None = None,
    progress: Progress | None = None,
) -> list[Damage]:
    """Return every difference between artifacts, as `Store.folders` has them, and their manifests.

    `too_new` is called for each that a newer ovrecipe made, and it is left out.

    Raises:
        ArtifactTooNew: there is such a one, and no `too_new`.
        OSError: a file cannot be read at all, which is the disk's problem, not the artifact's.
    """
    chosen = list(folders)
    problems: list[Damage] = []
    for index, (stage, sha256, folder) in enumerate(chosen):
        if progress is not None:
            progress(f"{stage} {sha256[:SHORT]}", done=index, total=len(chosen))
        try:
            for file, message in _problems(sha256, folder):
                spreads = not message.endswith(GONE)
                problems.append(Damage(stage, sha256, file, message, spreads))
        except ArtifactTooNew as error:
            if too_new is None:
                raise
            too_new(error)
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
        path = folder / name
        message = _stat_problem(path, entry) or _content_problem(path, entry, sha256_of)
        if message is not None:
            yield name, message


def _stat_problem(path: Path, entry: FileEntry) -> str | None:
    """Return how a file differs from what it was, as far as stats tell."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    if stat.S_ISLNK(found.st_mode) != entry.link:
        return "was a link and is a file" if entry.link else "was a file and is a link"
    if entry.link:
        if not path.is_file():
            return f"links to {path.readlink()}, {GONE}"
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if found.st_size != entry.size_bytes:
        return f"{_where(path, entry)}has {found.st_size} bytes, and had {entry.size_bytes}"
    return None


def _content_problem(path: Path, entry: FileEntry, sha256: Callable[[Path], str]) -> str | None:
    """Return what is wrong with the bytes of a file."""
    if sha256(path) != entry.sha256:
        return f"{_where(path, entry)}has other bytes than when it was made"
    return None


def _where(path: Path, entry: FileEntry) -> str:
    return f"the file it links to, {path.readlink()}, " if entry.link else ""
