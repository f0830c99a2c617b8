"""What every checkpoint must have and must not do, whoever brings it.

Checks of names need no file to be read and run before a download; checks of contents read
headers and configuration files and run before the checkpoint is published.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.hub_files import INDEX_SUFFIX, leads_out, pickle_files, weight_files
from ovrecipe.errors import CheckpointIncomplete, CheckpointUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ovrecipe.recipe.schema import Model


#: The format allows no longer header; a larger number means that the file is something else.
MAX_HEADER_BYTES = 100_000_000
LENGTH = struct.Struct("<Q")
METADATA = "__metadata__"
#: No disk holds more elements; larger numbers would overflow where sizes are estimated.
MAX_ELEMENTS = 2**63
#: Bits of an element; dtypes that are not here are accepted without comparing sizes.
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}

#: What file systems take; asking for a longer name is an error of its own.
MAX_NAME = 255


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a header: the format's dtype name, its shape, and where its data lies."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(where: str, path: Path) -> tuple[TensorEntry, ...]:
    """Return the tensors of a file, after comparing its size with what the header promises.

    Raises:
        CheckpointIncomplete: the file is missing, cut off, damaged or something else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_size, document = _document(file.read(LENGTH.size), file, size)
    except FileNotFoundError as exc:
        raise CheckpointIncomplete(
            f"{where}: {path.name} is missing", remedy="fetch the missing files"
        ) from exc
    except (OSError, ValueError) as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} cannot be read: {exc}") from exc
    entries = None if document is None else _entries(document)
    if entries is None:
        raise CheckpointIncomplete(
            f"{where}: {path.name} is not a safetensors file",
            remedy="a file of a few lines may be a Git LFS pointer: run 'git lfs pull'",
        )
    expected = LENGTH.size + header_size + max((each.end for each in entries), default=0)
    if expected != size:
        raise CheckpointIncomplete(
            f"{where}: {path.name} has {size} bytes and its header promises {expected}",
            remedy="the copy or download broke off: fetch the file again",
        )
    return entries


def _document(prefix: bytes, file: Any, size: int) -> tuple[int, Any]:
    """Return the header's length and content; None for what cannot be a header."""
    if len(prefix) < LENGTH.size:
        return 0, None
    (header_size,) = LENGTH.unpack(prefix)
    if header_size > min(size, MAX_HEADER_BYTES):
        return 0, None
    try:
        return header_size, json.loads(file.read(header_size))
    except (ValueError, RecursionError):
        return header_size, None


def _entries(document: Any) -> tuple[TensorEntry, ...] | None:
    """Return the tensors; None when anything is not as the format wants it."""
    if not isinstance(document, dict):
        return None
    found = [_entry(name, each) for name, each in document.items() if name != METADATA]
    entries = tuple(each for each in found if each is not None)
    return entries if len(entries) == len(found) else None


def _entry(name: str, entry: Any) -> TensorEntry | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("dtype"), str):
        return None
    shape, offsets = _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        return None
    bits = BITS.get(entry["dtype"])
    if bits is not None and prod(shape) * bits != 8 * (offsets[1] - offsets[0]):
        return None
    return TensorEntry(name, entry["dtype"], shape, *offsets)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a list of sizes; None when it is none, or larger than anything that exists."""
    if not isinstance(value, list) or not all(type(each) is int and each >= 0 for each in value):
        return None
    return tuple(value) if prod(each or 1 for each in value) <= MAX_ELEMENTS else None


def read_index(where: str, path: Path) -> tuple[str, ...]:
    """Return the names of the shards that an index names, sorted.

    Raises:
        CheckpointIncomplete: the index is damaged, or names no shards.
    """
    weight_map = read_json(where, path).get("weight_map")
    found = list(weight_map.values()) if isinstance(weight_map, dict) else []
    names = {each for each in found if isinstance(each, str)}
    if not names or not all(isinstance(each, str) for each in found):
        raise CheckpointIncomplete(
            f"{where}: {path.name} has no weight_map from tensors to files",
            remedy="fetch the file again",
        )
    for name in names:
        if leads_out(name) or len(name) > MAX_NAME:
            raise CheckpointIncomplete(f"{where}: {path.name} names no file with {name[:80]!r}")
    return tuple(sorted(names))


def read_json(where: str, path: Path) -> dict[str, Any]:
    """Return a file's JSON object.

    Raises:
        CheckpointIncomplete: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except RecursionError as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} is nested too deeply") from exc
    except (OSError, ValueError) as exc:
        raise CheckpointIncomplete(f"{where}: {path.name} is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise CheckpointIncomplete(f"{where}: {path.name} is not a JSON object")
    return content


#: Sets of files, each of which is a whole tokenizer to transformers.
TOKENIZER_FILES = (
    {"tokenizer.json"},
    {"tokenizer.model"},
    {"spiece.model"},
    {"sentencepiece.bpe.model"},
    {"vocab.json", "merges.txt"},
    {"vocab.txt"},
    {"tekken.json"},
)


def check_names(where: str, names: Iterable[str], model: Model) -> None:
    """Refuse a listing that cannot be a usable checkpoint.

    Raises:
        CheckpointIncomplete: configuration, weights or tokenizer files are missing.
        CheckpointUnsafe: the weights are pickles, which run code when read.
    """
    known = set(names)
    if "config.json" not in known:
        raise CheckpointIncomplete(
            f"{where}: has no config.json, so it is no transformers checkpoint",
            remedy=_other_format(known),
        )
    _check_weights(where, known, model)
    _check_tokenizer(where, known, model)


def check_contents(where: str, checkpoint_dir: Path, model: Model) -> None:
    """Refuse damaged files and code that the recipe did not allow.

    Raises:
        CheckpointIncomplete: a shard is missing, or a file is damaged or truncated.
        CheckpointUnsafe: loading would run the checkpoint's own code.
    """
    config = read_json(where, checkpoint_dir / "config.json")
    if "model_type" not in config:
        raise CheckpointIncomplete(f"{where}: config.json has no model_type")
    if not model.trust_remote_code:
        _refuse_remote_code(where, checkpoint_dir, config)
    for index in sorted(checkpoint_dir.glob(f"*{INDEX_SUFFIX}")):
        _check_shards(where, index)
    for path in sorted(checkpoint_dir.glob("*.safetensors")):
        read_header(where, path)


def _check_weights(where: str, known: set[str], model: Model) -> None:
    if weight_files(known, allow_pickle=model.allow_pickle):
        return
    pickles = pickle_files(known) or [each for each in known if each.endswith((".bin", ".pt"))]
    if pickles and not model.allow_pickle:
        raise CheckpointUnsafe(
            f"{where}: its weights are only there as pickles ({min(pickles)}), "
            "which can run any code when they are read",
            remedy="use a revision with safetensors, or trust it with 'model.allow_pickle: true'",
        )
    raise CheckpointIncomplete(
        f"{where}: has no weights (model.safetensors, or shards of it)",
        remedy=_other_format(known),
    )


def _check_tokenizer(where: str, known: set[str], model: Model) -> None:
    found = any(each <= known for each in TOKENIZER_FILES)
    own = model.trust_remote_code and "tokenizer_config.json" in known
    if found or own or any(each.endswith(".tiktoken") for each in known):
        return
    choices = ", ".join(" with ".join(sorted(each, reverse=True)) for each in TOKENIZER_FILES)
    raise CheckpointIncomplete(
        f"{where}: has no tokenizer files, none of {choices}",
        remedy="copy the tokenizer files of the model that this one was made from",
    )


def _other_format(known: set[str]) -> str | None:
    """Return a hint at what the folder does have."""
    for suffix, advice in (
        (".gguf", "give the .gguf file itself as model.id"),
        (".xml", "an OpenVINO model is there already; ovrecipe builds from a checkpoint"),
    ):
        found = sorted(each for each in known if each.endswith(suffix))
        if found:
            return f"it has {found[0]}: {advice}"
    if "adapter_config.json" in known:
        return "it is an adapter: merge it into its base model first"
    return None


def _check_shards(where: str, index: Path) -> None:
    shards = read_index(where, index)
    missing = [each for each in shards if not (index.parent / each).is_file()]
    if missing:
        raise CheckpointIncomplete(
            f"{where}: {index.name} names {len(shards)} shards, "
            f"of which {len(missing)} are missing: {', '.join(missing[:3])}",
            remedy="fetch the missing files",
        )


def _refuse_remote_code(where: str, checkpoint_dir: Path, config: dict[str, Any]) -> None:
    """Refuse what only the checkpoint's own classes could load.

    Many checkpoints carry code for versions of transformers that did not know them yet; where
    transformers has a class by now, that one is used and nothing of the checkpoint runs.
    """
    own = _model_class(config)
    if own is not None and not _transformers_knows_model(str(config["model_type"])):
        raise _remote_code(where, "config.json", own)
    path = checkpoint_dir / "tokenizer_config.json"
    tokenizer = read_json(where, path) if path.is_file() else {}
    own = _first(_auto_map(tokenizer).get("AutoTokenizer"))
    if own is not None and not _transformers_knows_tokenizer(tokenizer, str(config["model_type"])):
        raise _remote_code(where, "tokenizer_config.json", own)


def _remote_code(where: str, file_name: str, class_name: str) -> CheckpointUnsafe:
    return CheckpointUnsafe(
        f"{where}: {file_name} wants the checkpoint's own code to be run ({class_name})",
        remedy="read that code; if you trust it, write 'model.trust_remote_code: true'",
    )


def _model_class(config: dict[str, Any]) -> str | None:
    mapped = _auto_map(config)
    return _first(mapped.get("AutoModelForCausalLM") or mapped.get("AutoConfig"))


def _auto_map(config: dict[str, Any]) -> dict[str, Any]:
    found = config.get("auto_map")
    return found if isinstance(found, dict) else {}


def _first(value: Any) -> str | None:
    """Return the one name in an auto_map's entry; a tokenizer's is a list of slow and fast."""
    if isinstance(value, list | tuple):
        return next((each for each in reversed(value) if each), None)
    return value or None


def _transformers_knows_model(model_type: str) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _transformers_knows_tokenizer(tokenizer: dict[str, Any], model_type: str) -> bool:
    from transformers.models.auto.tokenization_auto import (
        TOKENIZER_MAPPING_NAMES,
        tokenizer_class_from_name,
    )

    named = tokenizer.get("tokenizer_class")
    known = isinstance(named, str) and tokenizer_class_from_name(named) is not None
    return known or model_type in TOKENIZER_MAPPING_NAMES
