"""Reading a GGUF file: its facts, its tokens and its dequantized tensors.

Source: the GGUF specification, ggml/docs/gguf.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAGIC = b"GGUF"


@dataclass(frozen=True)
class GgufTensor:
    """One tensor as it lies in the file; `shape` is row-major, as in a checkpoint."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    raw: Any


class GgufFile:
    """A GGUF file that is there and is whole."""

    def __init__(self, path: Path) -> None:
        """Read the header; tensors stay on disk until they are asked for."""
        check_magic(path)
        self.path = path
        self._reader = _reader(path)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, or the default when the file does not say."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def require(self, key: str) -> Any:
        """Return a metadata value that a language model cannot do without."""
        value = self.get(key)
        if value is None:
            raise CheckpointIncomplete(f"{self.path.name}: the GGUF metadata has no '{key}'")
        return value

    def fact(self, key: str, default: Any = None) -> Any:
        """Return a value of the architecture's own section, `llama.context_length` for one."""
        return self.get(f"{self.architecture}.{key}", default)

    @cached_property
    def architecture(self) -> str:
        """The name that llama.cpp gives the architecture."""
        return str(self.require("general.architecture"))

    @cached_property
    def tokens(self) -> list[str]:
        """The texts of all tokens, by id."""
        return list(self.require("tokenizer.ggml.tokens"))

    @cached_property
    def tensors(self) -> Sequence[GgufTensor]:
        """The tensors in the file's order."""
        return [
            GgufTensor(each.name, tuple(int(n) for n in reversed(each.shape)), _type(each), each)
            for each in self._reader.tensors
        ]

    def dequantized(self, tensor: GgufTensor) -> Any:
        """Return the tensor's values as a float32 array."""
        from gguf import dequantize

        try:
            values = dequantize(tensor.raw.data, tensor.raw.tensor_type)
        except NotImplementedError as exc:
            raise CheckpointIncomplete(
                f"{self.path.name}: tensor {tensor.name} has type {tensor.type_name}, "
                "which the gguf package cannot dequantize",
                remedy="use a GGUF file of another quantization, or the model's hub id",
            ) from exc
        return values.reshape(tensor.shape)


def check_magic(path: Path) -> None:
    """Refuse what is no GGUF file.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointIncomplete: the file is something else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except (FileNotFoundError, IsADirectoryError) as exc:
        raise CheckpointNotFound(f"{path}: there is no such GGUF file") from exc
    if magic != MAGIC:
        raise CheckpointIncomplete(f"{path}: is not a GGUF file (it does not start with GGUF)")


def _reader(path: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError) as exc:
        # The package reads past the end of a truncated file and reports that in many ways.
        raise CheckpointIncomplete(
            f"{path}: the GGUF file is truncated or damaged: {exc}",
            remedy="download it again and compare its size",
        ) from exc


def _type(tensor: Any) -> str:
    return str(tensor.tensor_type.name)


def tensor_names(file: GgufFile) -> Iterator[str]:
    """Yield the names of all tensors."""
    return (each.name for each in file.tensors)
