"""Reading a GGUF file, or the parts of one: its metadata and its tensors."""

import re
import struct
from functools import cached_property
from pathlib import Path
from typing import Any

from ovrecipe.errors import CheckpointIncomplete, CheckpointNotFound

MAGIC = b"GGUF"
#: What the gguf package reads; 1 was gone before it existed.
VERSIONS = (2, 3)
#: A file has dozens of entries, hundreds of tensors, and a vocabulary of a quarter million; more
#: is damage or malice, and reading it would take hours and all memory.
MAX_ENTRIES, MAX_TENSORS, MAX_ITEMS = 10_000, 100_000, 4_000_000
#: `model-00001-of-00003.gguf`, as llama.cpp splits files.
PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
OTHER_SOURCE = "give the model's hub id or a local checkpoint directory instead"
DOWNLOAD_AGAIN = "download it again and compare its size"
#: Special tokens: transformers' name, then GGUF's.
SPECIAL_TOKENS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "sep": "seperator",
    "mask": "mask", "cls": "cls",
}  # fmt: skip


class GgufFile:
    """A GGUF file that is there and is whole, with all its parts when it was split.

    `tensors` are the gguf package's own by name, in the file's order; they stay on disk until
    they are asked for, and their `shape` has the innermost dimension first.

    Raises:
        CheckpointIncomplete: it is no GGUF file, cut off or damaged, or a part of it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        first, *others = (_read(part) for part in parts_of(path))
        self._fields = first.fields
        self.tensors: dict[str, Any] = {
            tensor.name: tensor for reader in (first, *others) for tensor in reader.tensors
        }
        self._check_parts(1 + len(others))

    def _check_parts(self, count: int) -> None:
        """Refuse a part under the name of a whole, and parts that do not belong together."""
        said = int(self.get("split.count", 0)) or 1
        if said != count:
            reason = f"it is a part of {said}, and its name says {count}"
            raise self.refusal(reason, remedy="keep the names: model-00001-of-00003.gguf")
        promised = int(self.get("split.tensors.count", len(self.tensors)))
        if promised != len(self.tensors):
            reason = f"it promises {promised} tensors and its parts have {len(self.tensors)}"
            raise self.refusal(reason, remedy="fetch all parts of one release again")

    def refusal(self, reason: str, *, remedy: str = OTHER_SOURCE) -> CheckpointIncomplete:
        """Return the error that says why this file cannot be converted."""
        return CheckpointIncomplete(f"{self.path.name}: {reason}", remedy=remedy)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, or the default when the file does not say."""
        field = self._fields.get(key)
        return default if field is None else field.contents()

    def needed(self, key: str) -> Any:
        """Return a metadata value that a language model cannot do without.

        Raises:
            CheckpointIncomplete: the file does not say.
        """
        value = self.get(key)
        if value is None:
            raise self.refusal(f"the GGUF metadata has no '{key}'")
        return value

    def fact(self, key: str, default: Any = None) -> Any:
        """Return a value of the architecture's own section, `llama.context_length` for one."""
        return self.get(f"{self.architecture}.{key}", default)

    @property
    def facts(self) -> dict[str, Any]:
        """All values of the architecture's own section."""
        start = f"{self.architecture}."
        keys = [key for key in self._fields if key.startswith(start)]
        return {key.removeprefix(start): self.get(key) for key in keys}

    @cached_property
    def architecture(self) -> str:
        """The name that llama.cpp gives the architecture."""
        return str(self.needed("general.architecture"))

    @cached_property
    def tokens(self) -> list[str]:
        """The texts of all tokens, by id."""
        texts = self.needed("tokenizer.ggml.tokens")
        # As llama.cpp: a token without text is never found in one, and keeps its id.
        return [text or f"[EMPTY_{number}]" for number, text in enumerate(texts)]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The ids of all tokens, by text.

        Raises:
            CheckpointIncomplete: a text has two ids.
        """
        ids = {text: number for number, text in enumerate(self.tokens)}
        if len(ids) != len(self.tokens):
            twice = next(text for number, text in enumerate(self.tokens) if ids[text] != number)
            raise self.refusal(f"its vocabulary has the token {twice!r} twice")
        return ids

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """The ids of the special tokens that the file names, by transformers' name.

        Raises:
            CheckpointIncomplete: an id lies beyond the vocabulary.
        """
        keys = {name: f"tokenizer.ggml.{said}_token_id" for name, said in SPECIAL_TOKENS.items()}
        found = {name: self.get(key) for name, key in keys.items() if self.get(key) is not None}
        for name, id_ in found.items():
            if not 0 <= id_ < len(self.tokens):
                size = len(self.tokens)
                raise self.refusal(f"{keys[name]} is {id_}, and its vocabulary has {size} tokens")
        return {name: int(id_) for name, id_ in found.items()}

    def dequantized(self, tensor: Any) -> Any:
        """Return a tensor's values as a float32 array, row-major as in a checkpoint."""
        from gguf import dequantize

        return dequantize(tensor.data, tensor.tensor_type)

    def check_types(self) -> None:
        """Refuse types that the gguf package cannot dequantize, before any work is done.

        Raises:
            CheckpointIncomplete: which tensor has one.
        """
        from gguf import dequantize

        seen: dict[Any, Any] = {}
        for tensor in self.tensors.values():
            seen.setdefault(tensor.tensor_type, tensor)
        for kind, tensor in seen.items():
            try:
                # One row is a whole number of blocks.
                dequantize(tensor.data.reshape(-1, tensor.data.shape[-1])[:1], kind)
            except NotImplementedError as exc:
                named = f"tensor {tensor.name} is {kind.name}"
                reason = f"{named}, which the gguf package cannot dequantize"
                remedy = "use a GGUF file of another quantization, or the model's hub id"
                raise self.refusal(reason, remedy=remedy) from exc


def parts_of(path: Path) -> list[Path]:
    """Return the file, or all parts of it in their order when its name is that of the first.

    Raises:
        CheckpointNotFound: the file or a part is not there.
        CheckpointIncomplete: it is another part than the first, or something else than GGUF.
    """
    named = PART.fullmatch(path.name)
    if named is None:
        check_header(path)
        return [path]
    count = int(named["count"])
    names = [f"{named['stem']}-{n:05}-of-{named['count']}.gguf" for n in range(1, count + 1)]
    if int(named["number"]) != 1:
        message = f"{path}: is a part of a GGUF file, and only the first has its metadata"
        raise CheckpointIncomplete(message, remedy=f"give {names[0]}")
    parts = [path.with_name(name) for name in names]
    for part in parts:
        check_header(part)
    return parts


def check_header(path: Path) -> None:
    """Refuse what is no GGUF file, or one that nobody could read.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointIncomplete: the file is something else, damaged, or of an unknown version.
    """
    try:
        with path.open("rb") as file:
            start = file.read(24)
    except (FileNotFoundError, IsADirectoryError) as exc:
        remedy = "give the path of a .gguf file; in a recipe it starts from the recipe's own folder"
        raise CheckpointNotFound(f"{path}: there is no such GGUF file", remedy=remedy) from exc
    if start[:4] != MAGIC:
        raise CheckpointIncomplete(f"{path}: is not a GGUF file (it does not start with GGUF)")
    if len(start) < 24:
        message = f"{path}: the GGUF file is truncated after {len(start)} bytes"
        raise CheckpointIncomplete(message, remedy=DOWNLOAD_AGAIN)
    version, tensors, entries = struct.unpack("<IQQ", start[4:])
    if version & 0xFFFF == 0:
        message = f"{path}: is a GGUF file in big-endian byte order, which is not read"
        raise CheckpointIncomplete(message, remedy=OTHER_SOURCE)
    if version not in VERSIONS:
        message = f"{path}: is GGUF of version {version}; 2 and 3 can be read"
        newer = "a newer ovrecipe may read it; until then " + OTHER_SOURCE
        raise CheckpointIncomplete(message, remedy=newer)
    if entries > MAX_ENTRIES or tensors > MAX_TENSORS:
        counts = f"{entries} metadata entries and {tensors} tensors"
        message = f"{path}: its header promises {counts}, which no model has"
        raise CheckpointIncomplete(message, remedy="the file is damaged: " + DOWNLOAD_AGAIN)


def _read(path: Path) -> Any:
    """Return the gguf package's reader of one file."""
    from gguf import GGUFReader, GGUFValueType
    from numpy import asarray

    class Reader(GGUFReader):  # type: ignore[misc]
        def _build_fields(self, offs: int, count: int) -> Any:
            # The same memory without memmap's own slicing, which takes half of the time.
            self.data: Any = asarray(self.data)
            return super()._build_fields(offs, count)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == GGUFValueType.ARRAY:
                # An array starts with its items' type, 4 bytes, and their count, 8 bytes.
                count = int.from_bytes(self.data[orig_offs + 4 : orig_offs + 12], "little")
                if count > MAX_ITEMS:
                    raise ValueError(f"a list of {count} items, which no vocabulary has")
            return super()._get_field_parts(orig_offs, raw_type)

    try:
        return Reader(path)
    except (ValueError, IndexError, KeyError) as exc:
        # The package reads past the end of a truncated file and reports that in many ways.
        message = f"{path}: the GGUF file is truncated or damaged: {exc}"
        raise CheckpointIncomplete(message, remedy=DOWNLOAD_AGAIN) from exc
