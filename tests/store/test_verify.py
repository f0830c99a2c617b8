"""Every way in which an artifact can differ from what was built is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.store.manifest import MANIFEST, verify
from tests.store.making import key_of, make

if TYPE_CHECKING:
    from ovrecipe.store.store import Store


def flip_a_bit(folder: Path) -> None:
    path = folder / "openvino_model.bin"
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / "openvino_model.bin").chmod(0o644)
    (folder / "openvino_model.bin").write_bytes(b"")


def delete(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "openvino_model.xml").unlink()


def add(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "stray.txt").write_text("")


def delete_the_manifest(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / MANIFEST).unlink()


def break_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text("{")


def make_it_newer(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps({**document, "schema": 2, "verdict": "accepted"}))


def edit_the_key(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    document["key"]["group_size"] = 32
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps(document))


def take_anothers_manifest(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_text())
    document["sha256"] = "f" * 64
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps(document))


def make_it_a_folder(folder: Path) -> None:
    folder.chmod(0o755)
    (folder / "openvino_model.xml").unlink()
    (folder / "openvino_model.xml").mkdir()


def make_it_a_link(folder: Path) -> None:
    folder.chmod(0o755)
    path = folder / "openvino_model.xml"
    path.rename(folder.parent.parent / "elsewhere")
    path.symlink_to(folder.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "file", "message"),
    [
        (flip_a_bit, "openvino_model.bin", "has other bytes than when it was made"),
        (truncate, "openvino_model.bin", "has 0 bytes, and had 3000"),
        (delete, "openvino_model.xml", "is missing"),
        (add, "stray.txt", "is not in the manifest"),
        (delete_the_manifest, None, "manifest.json is missing"),
        (break_the_manifest, None, "manifest.json: is not JSON"),
        (edit_the_key, None, "the key in manifest.json is not the one"),
        (take_anothers_manifest, None, "manifest.json belongs to base ffffffffffff"),
        (make_it_a_folder, "openvino_model.xml", "is no file"),
        (make_it_a_link, "openvino_model.xml", "was a file and is a link"),
    ],
)
def test_damage_is_found(
    store: Store, damage: Callable[[Path], None], file: str | None, message: str
) -> None:
    make(store, key_of(other=1))
    damage(make(store, key_of()))
    [problem] = verify(store.folders())
    assert problem[:3] == ("base", key_of().sha256, file)
    assert problem.message.startswith(message)


def test_a_changed_checkpoint_is_found_through_its_link(store: Store, tmp_path: Path) -> None:
    """The user's file was the input, and is another one now."""
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"abc")
    with store.staging(key_of("source")) as staging_dir:
        (staging_dir / "model.safetensors").symlink_to(checkpoint)
        store.publish(key_of("source"), staging_dir)
    assert verify(store.folders()) == []
    checkpoint.write_bytes(b"abd")
    assert "the file it links to" in verify(store.folders())[0].message
    checkpoint.unlink()
    assert verify(store.folders())[0].message.endswith("which is gone")


def test_only_the_chosen_are_read(store: Store) -> None:
    flip_a_bit(make(store, key_of()))
    make(store, key_of(other=1))
    folders = {sha256: (stage, sha256, path) for stage, sha256, path in store.folders()}
    assert verify([folders[key_of(other=1).sha256]]) == []
    assert len(verify([folders[key_of().sha256]])) == 1


def test_progress_counts_the_artifacts(store: Store) -> None:
    make(store, key_of())
    shown: list[tuple[str, float | None, float | None]] = []

    def show(
        message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
    ) -> None:
        shown.append((message, done, total))

    verify(store.folders(), progress=show)
    assert shown == [(f"base {key_of().short}", 0, 1)]
