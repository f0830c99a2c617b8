"""Small artifacts for the store's tests, made the way a stage makes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.store.disk import link_file
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST

if TYPE_CHECKING:
    from ovrecipe.store.store import Store

FILES = {"openvino_model.xml": b"<net/>", "openvino_model.bin": bytes(3000), "extra/note": b"n"}


def key_of(stage: str = "base", *inputs: Key, **fields: object) -> Key:
    """Return a key with the inputs named by their stages."""
    return Key(stage, {**fields, "inputs": {key.stage: key.sha256 for key in inputs}})


def make(store: Store, key: Key, files: Mapping[str, bytes] = FILES) -> Path:
    """Make an artifact unless it is there, as a build does."""
    with store.lock(key):
        if not store.has(key):
            with store.staging(key) as staging_dir:
                fill(staging_dir, files)
                store.publish(key, staging_dir)
    return store.artifact_dir(key)


def link_all(source_dir: Path, target_dir: Path) -> None:
    """Link an artifact's files into a folder, as assembling does."""
    for path in source_dir.iterdir():
        if path.name != MANIFEST:
            link_file(path, target_dir / path.name)


def fill(folder: Path, files: Mapping[str, bytes] = FILES) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
