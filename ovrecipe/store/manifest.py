"""What an artifact says about itself; written last, so its presence means that all is there."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.store.key import Key, inputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.types import Json

MANIFEST = "manifest.json"
SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")
REBUILD = "'ovrecipe verify --remove' drops it, the next build makes it again"


@dataclass(frozen=True)
class FileEntry:
    """One file; a `link` leads out of the store to a file of the user's or of a hub's cache."""

    size_bytes: int
    sha256: str
    link: bool = False


@dataclass(frozen=True)
class Manifest:
    """An artifact's files, its key, and how it was made.

    `files` is by relative posix path; `tools` maps distributions to versions; `facts` is what
    the stage wants remembered (counts, results of gates). No absolute path stands in it.
    """

    stage: str
    sha256: str
    key: Mapping[str, Json]
    files: Mapping[str, FileEntry]
    created: str
    tools: Mapping[str, str] = field(default_factory=dict)
    provider: Json = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    seconds: float | None = None
    schema: int = SCHEMA

    @property
    def short(self) -> str:
        """The first digits of the key, as in `Key.short`."""
        return self.sha256[:12]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The sha256 of the keys that this artifact was made from."""
        return inputs_of(self.key)

    @property
    def size_bytes(self) -> int:
        """The size of the files that lie in the artifact itself."""
        return sum(each.size_bytes for each in self.files.values() if not each.link)

    def known_digests(self) -> dict[str, tuple[int, str]]:
        """Return (size, sha256) by path, for `publish` of an artifact that links these files."""
        return {name: (each.size_bytes, each.sha256) for name, each in self.files.items()}

    def to_text(self) -> str:
        """Return the text of manifest.json."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_manifest(artifact_dir: Path) -> Manifest:
    """Read and check the manifest of a published artifact.

    Raises:
        NotBuilt: there is no such artifact.
        ArtifactCorrupt: the manifest is not one that this version wrote.
    """
    path = artifact_dir / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotBuilt(f"{artifact_dir} is not in the store", remedy="build it") from error
    except ValueError as error:
        raise ArtifactCorrupt(f"{path}: is not JSON ({error})", remedy=REBUILD) from error
    return parse_manifest(document, path)


def parse_manifest(document: Any, path: Path) -> Manifest:
    """Return the manifest that a JSON document is; strict, since `gc` and `verify` trust it."""
    if not isinstance(document, dict):
        raise _corrupt(path, "is not a mapping")
    if document.get("schema") != SCHEMA:
        raise _corrupt(path, f"has schema {document.get('schema')!r}, this version reads {SCHEMA}")
    for name, kind in _FIELDS.items():
        if not isinstance(document.get(name), kind):
            raise _corrupt(path, f"{name} is missing or of the wrong type")
    unknown = sorted(set(document) - set(_FIELDS) - {"provider"})
    if unknown:
        raise _corrupt(path, f"{unknown[0]} is unknown")
    files = {name: _entry(path, name, each) for name, each in document["files"].items()}
    return Manifest(**{**document, "files": files})


_OPTIONAL_NUMBER = (int, float, type(None))
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "stage": str,
    "sha256": str,
    "key": dict,
    "files": dict,
    "created": str,
    "tools": dict,
    "facts": dict,
    "peak_memory_bytes": (int, type(None)),
    "seconds": _OPTIONAL_NUMBER,
}


def _entry(path: Path, name: str, entry: Any) -> FileEntry:
    match entry:
        case {"size_bytes": int(size), "sha256": str(sha256), "link": bool(link), **rest}:
            if not rest and SHA256.fullmatch(sha256) and is_inside(name):
                return FileEntry(size, sha256, link)
    raise _corrupt(path, f"the entry of {name!r} is malformed")


def is_inside(name: str) -> bool:
    """Tell whether a name is a clean relative path: a manifest must not lead out of its folder."""
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and pure.as_posix() == name != "."


def _corrupt(path: Path, what: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"{path}: {what}", remedy=REBUILD)


def key_sha256(manifest: Manifest) -> str:
    """Return the sha256 that the stored key document gives; it differs when someone edited it."""
    return Key(manifest.stage, manifest.key).sha256
