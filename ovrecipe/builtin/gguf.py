"""The `gguf` source: a GGUF file on this machine, converted to a checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.gguf_file import GgufFile, check_magic, config_of, generation_config_of
from ovrecipe.builtin.gguf_tokenizer import chat_template_of, tokenizer_config_of, tokenizer_of
from ovrecipe.builtin.gguf_weights import weights_dtype, write_weights
from ovrecipe.builtin.local import require_unchanged, user_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovrecipe.hooks.roles import SourceRequest
    from ovrecipe.types import Json, Progress


def write_checkpoint(gguf_path: Path, checkpoint_dir: Path, progress: Progress) -> None:
    """Write config, weights and tokenizer files; the directory is one that any tool can open.

    What is refused is refused before the weights are written.

    Raises:
        SourceError: the file is damaged, or of a kind that cannot be converted exactly.
    """
    progress(f"reading {gguf_path.name}")
    file = GgufFile(gguf_path)
    dtype = weights_dtype(file)
    _write_json(checkpoint_dir / "config.json", config_of(file, dtype=dtype))
    _write_json(checkpoint_dir / "generation_config.json", generation_config_of(file))
    _write_tokenizer(file, checkpoint_dir)

    def report(done: int, total: int) -> None:
        progress("dequantizing", done=done, total=total)

    write_weights(file, checkpoint_dir / "model.safetensors", dtype=dtype, report=report)


def _write_tokenizer(file: GgufFile, checkpoint_dir: Path) -> None:
    tokenizer_of(file).save(str(checkpoint_dir / "tokenizer.json"))
    _write_json(checkpoint_dir / "tokenizer_config.json", tokenizer_config_of(file))
    template = chat_template_of(file)
    if template is not None:
        (checkpoint_dir / "chat_template.jinja").write_text(template, "utf-8", newline="")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, "utf-8", newline="\n")


class GgufSource:
    """Reads `model.id: ./model.gguf`."""

    packages = ("gguf", "tokenizers")
    version = 1
    needs_pin = False

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the file's digest."""
        path = user_path(request)
        check_magic(path)
        return {"sha256": request.digests.sha256(path)}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Convert the file.

        Raises:
            SourceError: it cannot be converted, or was changed meanwhile.
        """
        path = user_path(request)
        write_checkpoint(path, checkpoint_dir, request.progress)
        require_unchanged(path, pin["sha256"], request.digests)
