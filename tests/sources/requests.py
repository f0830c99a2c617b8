"""Requests to sources, made as the build makes them."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovrecipe.hooks.roles import SourceRequest, silent
from ovrecipe.recipe.schema import Recipe, split_model_id


class FreshDigests:
    """Digests that remember nothing, but which files they were asked for."""

    def __init__(self) -> None:
        self.asked: list[Path] = []

    def sha256(self, path: Path) -> str:
        """Return the digest of a file."""
        self.asked.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def request(
    recipe_dir: Path,
    model_id: str,
    *,
    env: Mapping[str, str] | None = None,
    progress: Any = silent,
    **model: Any,
) -> SourceRequest:
    """Return the request that a recipe in `recipe_dir` with that model would make."""
    recipe = {"name": "m", "path": recipe_dir / "m.yaml", "variants": {"fp16": {}}}
    return SourceRequest(
        recipe=Recipe.model_validate({**recipe, "model": {"id": model_id, **model}}),
        location=split_model_id(model_id)[1],
        env=env or {},
        digests=FreshDigests(),
        progress=progress,
    )


def safetensors_bytes(values: int = 4) -> bytes:
    """Return a valid file with one small tensor."""
    offsets = [0, 4 * values]
    entry = {"weight": {"dtype": "F32", "shape": [values], "data_offsets": offsets}}
    header = json.dumps(entry).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * values)


def checkpoint_files(**extra: bytes | None) -> dict[str, bytes]:
    """Return the files of a small checkpoint; an extra that is None is left out.

    Names are written with `__` for a dot.
    """
    files: dict[str, bytes | None] = {
        "config.json": json.dumps({"model_type": "llama", "vocab_size": 8}).encode(),
        "generation_config.json": b"{}",
        "model.safetensors": safetensors_bytes(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "README.md": b"# A model\n",
        **{name.replace("__", "."): content for name, content in extra.items()},
    }
    return {name: content for name, content in files.items() if content is not None}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a new folder and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
