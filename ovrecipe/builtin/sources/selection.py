"""Which files of a checkpoint are needed, out of all that lie beside each other."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from ovrecipe.errors import CheckpointUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterable

#: One file, or numbered shards; variants such as `model.fp16.safetensors`, adapters and
#: `consolidated.safetensors` repeat the weights in other forms.
SHARD = r"(-\d+-of-\d+)?"
SAFETENSORS = re.compile(rf"(pytorch_)?model{SHARD}\.safetensors")
PICKLE = re.compile(rf"pytorch_model{SHARD}\.bin")
WHOLE_SAFETENSORS = "model.safetensors"
INDEX_SUFFIX = ".index.json"

#: Configuration, vocabularies and templates; small, and transformers may read any of them.
SMALL_FILE = re.compile(
    r".*\.(json|jinja|model|tiktoken|spm)|merges\.txt|vocab\.txt|tokenizer\.model\.v\d+"
    r"|additional_chat_templates/.*\.jinja"
)
PYTHON = re.compile(r".*\.py")


def wanted_files(
    names: Iterable[str], *, trust_remote_code: bool, allow_pickle: bool
) -> tuple[str, ...]:
    """Return the names to take, sorted; `names` are relative, with `/` between folders.

    Weights are taken once: one file before shards, and safetensors before pickles, in the order
    in which transformers looks for them.

    Raises:
        CheckpointUnsafe: one of them lies outside of the checkpoint's folder.
    """
    known = sorted(names)
    chosen = {*weight_files(known, allow_pickle=allow_pickle)}
    chosen.update(each for each in known if _is_small(each) and not each.endswith(INDEX_SUFFIX))
    chosen.update(each for each in known if each.endswith(INDEX_SUFFIX) and _is_index(each, chosen))
    if trust_remote_code:
        chosen.update(each for each in known if PYTHON.fullmatch(each))
    for name in sorted(chosen):
        if leads_out(name):
            raise CheckpointUnsafe(
                f"the checkpoint lists a file that lies outside of its own folder: {name!r}",
                remedy="do not use it: no honest checkpoint does that",
            )
    return tuple(sorted(chosen))


def leads_out(name: str) -> bool:
    """Say whether a name of a listing could mean a file outside of its folder, on any system."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or windows.drive or windows.root
    return bool(absolute) or ".." in windows.parts or "\0" in name


def weight_files(names: Iterable[str], *, allow_pickle: bool) -> list[str]:
    """Return the files with the weights; none when there is nothing that may be read."""
    known = list(names)
    if WHOLE_SAFETENSORS in known:
        return [WHOLE_SAFETENSORS]
    safe = [each for each in known if SAFETENSORS.fullmatch(each)]
    if safe or not allow_pickle:
        return safe
    return pickle_files(known)


def pickle_files(names: Iterable[str]) -> list[str]:
    """Return the weights that only unpickling can read."""
    return [each for each in names if PICKLE.fullmatch(each)]


def _is_small(name: str) -> bool:
    folder = name.startswith("additional_chat_templates/")
    return SMALL_FILE.fullmatch(name) is not None and ("/" not in name or folder)


def _is_index(name: str, chosen: set[str]) -> bool:
    """Say whether an index belongs to chosen shards, and not to weights left out."""
    suffix = name.removesuffix(INDEX_SUFFIX).rpartition(".")[2]
    return "/" not in name and any(
        each.endswith(f".{suffix}") and "-of-" in each for each in chosen
    )
