"""The `gguf` source: a GGUF file on this machine, converted to a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.builtin.sources.gguf_file import check_magic
from ovrecipe.builtin.sources.paths import user_path
from ovrecipe.builtin.sources.unchanged import require_unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ovrecipe.hooks.roles import Json, Progress, SourceRequest


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

    def fetch(
        self,
        request: SourceRequest,
        pin: Mapping[str, Json],
        checkpoint_dir: Path,
        progress: Progress,
    ) -> None:
        """Convert the file.

        Raises:
            SourceError: it cannot be converted, or was changed meanwhile.
        """
        from ovrecipe.builtin.sources.gguf_checkpoint import write_checkpoint

        path = user_path(request)
        write_checkpoint(path, checkpoint_dir, progress)
        require_unchanged(path, pin["sha256"], request.digests)
