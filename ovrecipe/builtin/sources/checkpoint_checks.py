"""What every checkpoint must have and must not do, whoever brings it.

Checks of names need no file to be read and run before a download; checks of contents read
headers and configuration files and run before the checkpoint is published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.sources.safetensors_header import read_header, read_index, read_json
from ovrecipe.builtin.sources.selection import INDEX_SUFFIX, pickle_files, weight_files
from ovrecipe.errors import CheckpointIncomplete, CheckpointUnsafe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ovrecipe.recipe.schema import Model

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
