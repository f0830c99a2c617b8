"""A model on its way to a node: what it is, where it may be had, and a folder of it there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.run.exported import (
    EXPORT,
    Export,
    ExportedFile,
    check_export,
    exported_digests,
    file_problem,
    read_export,
    user_cache_dir,
)
from ovrecipe.store import locks
from ovrecipe.store.disk import disk_errors, random_name, remove_tree
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST, read_manifest
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from ovrecipe.run.load import Found

#: Below the user's cache folder of a node.
FOLDER = "ray"


@dataclass(frozen=True)
class Shipment:
    """A built variant: its `ovrecipe.json` and where its files may be.

    `place` is the folder that this machine has; another one sees it too where it is on a file
    system of both. Else the files are taken from `remote_url`, under
    `key`.
    """

    export_text: str
    place: str
    key: Key | None
    remote_url: str | None

    @property
    def export(self) -> Export:
        """What `ovrecipe.json` says."""
        return Export.model_validate_json(self.export_text)


def shipment_of(found: Found, remote_url: str | None) -> Shipment:
    """Return what a node needs to open what was found here.

    Raises:
        ArtifactCorrupt: its manifest is damaged.
    """
    artifact = found.artifact
    if found.project is None:
        export = read_export(artifact.model_dir)
        return Shipment(export.as_text(), str(artifact.model_dir.resolve()), None, None)
    if not (artifact.model_dir / MANIFEST).is_file():
        raise NotBuilt(
            f"{artifact.model_dir} has no manifest, so nobody can check it on a node",
            remedy="build it with ovrecipe",
        )
    manifest = read_manifest(artifact.model_dir)
    key = Key(manifest.stage, manifest.key)
    export = Export(
        name=found.recipe.name,
        variant=artifact.variant,
        recipe=found.recipe.model_dump(
            mode="json", by_alias=True, exclude_unset=True, exclude={"name", "path", "extends"}
        ),
        artifact=manifest.sha256,
        made_from={},
        source={},
        attention_backend=artifact.attention_backend(),
        assistants=dict(artifact.assistants()),
        gates={},
        versions={},
        created=manifest.created,
        files={
            name: ExportedFile(size_bytes=entry.size_bytes, sha256=entry.sha256)
            for name, entry in manifest.files.items()
        },
        beside={},
        made_by=f"ovrecipe {__version__}",
    )
    return Shipment(export.as_text(), str(artifact.model_dir.resolve()), key, remote_url)


def arrived(shipment: Shipment, env: Mapping[str, str]) -> Path:
    """Return a folder of this machine's with the model, every file compared with its digest.

    The files are links to those of a shared store, or to what was taken from a store elsewhere.

    Raises:
        NotBuilt: this machine can have it from nowhere.
        ArtifactCorrupt: what it can have is not what was built.
        RemoteUnreachable, DiskFull, StoreNotWritable: it could not be taken.
    """
    export = shipment.export
    name = hashlib.sha256(shipment.export_text.encode()).hexdigest()
    folder = user_cache_dir(env) / FOLDER / name
    refusal = "name another folder with OVRECIPE_CACHE"
    with disk_errors(folder.parent, any_refusal=True, remedy=refusal):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Several engines of one machine may come at once.
        with locks.held(folder.with_suffix(".lock")):
            if not _is_whole(folder, export, env):
                _lay_out(shipment, export, folder, env)
    check_export(folder, export, exported_digests(env).sha256)
    return folder


def _lay_out(shipment: Shipment, export: Export, folder: Path, env: Mapping[str, str]) -> None:
    """Make the folder, anew where what it led to is gone or damaged."""
    place = Path(shipment.place)
    if not _has_files(place, export):
        place = _taken(shipment, export, env)
    stage = folder.with_name(f"{folder.name}.{random_name()}")
    try:
        stage.mkdir()
        for name in export.files:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).symlink_to(place / name)
        (stage / EXPORT).write_text(shipment.export_text, encoding="utf-8")
        remove_tree(folder)
        stage.rename(folder)
    finally:
        remove_tree(stage)


def _has_files(place: Path, export: Export) -> bool:
    """Return whether a folder has files of these sizes; their bytes are compared later."""
    return all(
        (place / name).is_file() and (place / name).stat().st_size == entry.size_bytes
        for name, entry in export.files.items()
    )


def _taken(shipment: Shipment, export: Export, env: Mapping[str, str]) -> Path:
    """Return the artifact in this machine's own store, taken from elsewhere if it is not there."""
    from ovrecipe.build.remote import Remote, not_there
    from ovrecipe.store.store import Store

    key = shipment.key
    if key is None or shipment.remote_url is None:
        raise NotBuilt(
            f"{os.uname().nodename} does not see {shipment.place} with {export.target}",
            remedy="put the store on a file system of all nodes (OVRECIPE_STORE), or push it to a "
            "remote (ovrecipe push) that ovrecipe.toml or OVRECIPE_REMOTE names",
        )
    remote = Remote(shipment.remote_url)
    store = Store(user_cache_dir(env) / FOLDER / "store")
    store.root.mkdir(parents=True, exist_ok=True)
    manifest = remote.manifest(key)
    if manifest is None:
        raise not_there(remote, export.target)
    folder = store.artifact_dir(key)
    with store.lock(key, waiting=lambda _: None):
        if not (store.has(key) and _is_whole(folder, export, env)):
            store.remove(key)
            remote.pull(store, key, manifest)
    if not _has_files(folder, export):
        raise ArtifactCorrupt(
            f"{remote} has another {export.target} under this key than was built here",
            remedy="push to a remote that only your builds write to",
        )
    return folder


def _is_whole(folder: Path, export: Export, env: Mapping[str, str]) -> bool:
    """Return whether what was taken before is what is wanted."""
    sha256 = exported_digests(env).sha256
    return not any(
        file_problem(folder / name, entry, sha256) for name, entry in export.files.items()
    )
