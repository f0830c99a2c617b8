"""What every checkpoint must have and must not do, whoever brings it, and which files it is.

Checks of names need no file to be read and run before a download; checks of contents read
headers and configuration files and run before the checkpoint is published.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from ovrecipe.errors import CheckpointIncomplete, CheckpointUnsafe, SourceError
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.json_files import TOKENIZER_CONFIG, read_object
from ovrecipe.recipe.schema import Model
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TaskName

#: One file, or numbered shards; variants such as `model.fp16.safetensors`, adapters and
#: `consolidated.safetensors` repeat the weights in other forms.
SHARD = r"(-\d+-of-\d+)?"
SAFETENSORS = re.compile(rf"(pytorch_)?model{SHARD}\.safetensors")
PICKLE = re.compile(rf"pytorch_model{SHARD}\.bin")
WHOLE_SAFETENSORS = "model.safetensors"
INDEX_SUFFIX = ".index.json"
#: Configuration, vocabularies and templates; small, and transformers may read any of them.
SMALL_FILE = re.compile(
    r"(additional_chat_templates/.*|[^/]*)\.(json|jinja|model|tiktoken|spm)"
    r"|merges\.txt|vocab\.txt|tokenizer\.model\.v\d+"
)
#: What sentence-transformers says of each step behind the model, in a folder of its own.
MODULE_FILE = re.compile(r"[0-9]+_[A-Za-z]+/config\.json")


class TaskClasses(NamedTuple):
    """With which class transformers loads a checkpoint for a task, and what else is read."""

    auto_class: str
    mapping: str
    more_files: re.Pattern[str] | None = None


CLASSES: Mapping[TaskName, TaskClasses] = {
    GENERATION: TaskClasses("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES"),
    EMBEDDING: TaskClasses("AutoModel", "MODEL_MAPPING_NAMES", MODULE_FILE),
    RERANK: TaskClasses(
        "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
        MODULE_FILE,
    ),
}
#: Sets of files, each of which is a whole tokenizer to transformers.
TOKENIZER_FILES = (
    ("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("sentencepiece.bpe.model",),
    ("vocab.json", "merges.txt"), ("vocab.txt",), ("tekken.json",),
)  # fmt: skip
#: What a folder may have in the place of a checkpoint, by the end of a name, and what to do then.
OTHER_FORMATS = {
    ".gguf": "give the .gguf file itself as model.id",
    ".xml": "an OpenVINO model is there already; ovrecipe builds from a checkpoint",
    "adapter_config.json": "merge the adapter into its base model first",
}
AGAIN, MISSING = "fetch the file again", "fetch the missing files"
#: What file systems take; asking for a longer name is an error of its own.
MAX_NAME = 255


def wanted_files(
    names: Iterable[str], model: Model, task: TaskName = GENERATION
) -> tuple[str, ...]:
    """Return the names to take, sorted; `names` are relative, with `/` between folders.

    Weights are taken once: one file before shards, and safetensors before pickles, in the order
    in which transformers looks for them.

    Raises:
        CheckpointUnsafe: one of them lies outside of the checkpoint's folder.
    """
    known = set(names)
    weights = _weight_files(known, model)
    more = CLASSES[task].more_files
    # An index belongs to chosen shards, and not to weights that are left out.
    sharded = {PurePosixPath(name).suffix for name in weights if "-of-" in name}
    indexes = tuple(suffix + INDEX_SUFFIX for suffix in sharded)
    chosen = {
        name
        for name in known
        if (SMALL_FILE.fullmatch(name) and not name.endswith(INDEX_SUFFIX))
        or ("/" not in name and name.endswith(indexes))
        or (model.trust_remote_code and name.endswith(".py"))
        or (more is not None and more.fullmatch(name))
    }
    for name in sorted(chosen):
        if _leads_out(name):
            message = f"the checkpoint lists a file that lies outside of its own folder: {name!r}"
            raise CheckpointUnsafe(message, remedy="do not use it: no honest checkpoint does that")
    return tuple(sorted({*chosen, *weights}))


def _weight_files(known: set[str], model: Model) -> list[str]:
    """Return the files with the weights; none when there is nothing that may be read."""
    if WHOLE_SAFETENSORS in known:
        return [WHOLE_SAFETENSORS]
    safe = [name for name in known if SAFETENSORS.fullmatch(name)]
    if safe or not model.allow_pickle:
        return safe
    return [name for name in known if PICKLE.fullmatch(name)]


def _leads_out(name: str) -> bool:
    """Say whether a name of a listing could mean a file outside of its folder, on any system."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or windows.drive or windows.root
    return bool(absolute) or ".." in windows.parts or "\0" in name


def check_names(where: str, names: Iterable[str], model: Model) -> None:
    """Refuse a listing that cannot be a usable checkpoint.

    Raises:
        CheckpointIncomplete: configuration, weights or tokenizer files are missing.
        CheckpointUnsafe: the weights are pickles, which run code when read.
    """
    known = set(names)
    if "config.json" not in known:
        message = f"{where}: has no config.json, so it is no transformers checkpoint"
        raise CheckpointIncomplete(message, remedy=_other_format(known))
    if not _weight_files(known, model):
        raise _no_weights(where, known, model)
    own = model.trust_remote_code and TOKENIZER_CONFIG in known
    tiktoken = any(name.endswith(".tiktoken") for name in known)
    if not (own or tiktoken or any(known.issuperset(files) for files in TOKENIZER_FILES)):
        choices = ", ".join(" with ".join(files) for files in TOKENIZER_FILES)
        message = f"{where}: has no tokenizer files, none of {choices}"
        raise CheckpointIncomplete(message, remedy="copy those of the model it was made from")


def _no_weights(where: str, known: set[str], model: Model) -> SourceError:
    pickles = [name for name in known if name.endswith((".bin", ".pt"))]
    if pickles and not model.allow_pickle:
        named = min([name for name in pickles if PICKLE.fullmatch(name)] or pickles)
        return CheckpointUnsafe(
            f"{where}: its weights are only there as pickles ({named}), which can run any code",
            remedy="use a revision with safetensors, or trust it with 'model.allow_pickle: true'",
        )
    message = f"{where}: has no weights (model.safetensors, or shards of it)"
    return CheckpointIncomplete(message, remedy=_other_format(known))


def _other_format(known: set[str]) -> str | None:
    """Return a hint at what the folder does have."""
    for end, advice in OTHER_FORMATS.items():
        if found := sorted(name for name in known if name.endswith(end)):
            return f"it has {found[0]}: {advice}"
    return None


def check_contents(
    where: str, checkpoint_dir: Path, model: Model, task: TaskName = GENERATION
) -> None:
    """Refuse damaged files and code that the recipe did not allow.

    Raises:
        CheckpointIncomplete: a shard is missing, or a file is damaged or truncated.
        CheckpointUnsafe: loading would run the checkpoint's own code.
    """
    config = read_json(where, checkpoint_dir / "config.json")
    if "model_type" not in config:
        raise CheckpointIncomplete(f"{where}: config.json has no model_type")
    if not model.trust_remote_code:
        _check_remote_code(where, checkpoint_dir, config, CLASSES[task])
    for index in sorted(checkpoint_dir.glob(f"*{INDEX_SUFFIX}")):
        shards = read_index(where, index)
        missing = [name for name in shards if not (checkpoint_dir / name).is_file()]
        if missing:
            of = f"{len(missing)} of the {len(shards)} shards of {index.name}"
            message = f"{where}: {of} are missing: {', '.join(missing[:3])}"
            raise CheckpointIncomplete(message, remedy=MISSING)
    for path in sorted(checkpoint_dir.glob("*.safetensors")):
        read_header(where, path)


def read_json(where: str, path: Path) -> dict[str, Any]:
    """Return a file's JSON object, {} when there is no such file.

    Raises:
        CheckpointIncomplete: it cannot be read, or is something else.
    """
    return read_object(path, shown=f"{where}: {path.name}", error=CheckpointIncomplete)


def read_index(where: str, path: Path) -> tuple[str, ...]:
    """Return the names of the shards that an index names, sorted.

    Raises:
        CheckpointIncomplete: the index is damaged, or names no shards.
    """
    weight_map = read_json(where, path).get("weight_map")
    found = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not found or not all(isinstance(name, str) for name in found):
        message = f"{where}: {path.name} has no weight_map from tensors to files"
        raise CheckpointIncomplete(message, remedy=AGAIN)
    for name in found:
        if _leads_out(name) or len(name) > MAX_NAME:
            raise CheckpointIncomplete(f"{where}: {path.name} names no file with {name[:80]!r}")
    return tuple(sorted(set(found)))


def read_header(where: str, path: Path) -> tuple[WeightShape, ...]:
    """Return a safetensors file's tensors, with the format's own names of dtypes (`BF16`).

    Raises:
        CheckpointIncomplete: the file is missing, cut off, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    shown = f"{where}: {path.name}"
    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no dict
            return tuple(
                WeightShape(name, tuple(part.get_shape()), part.get_dtype())
                for name, part in slices.items()
            )
    except FileNotFoundError as exc:
        raise CheckpointIncomplete(f"{shown} is missing", remedy=MISSING) from exc
    except OSError as exc:
        raise CheckpointIncomplete(f"{shown} cannot be read: {exc}") from exc
    except SafetensorError as exc:
        reason = str(exc).removeprefix("Error while deserializing header: ")
        if "not fully covered" in reason:
            size = path.stat().st_size
            message = f"{shown} has {size} bytes and its header promises another size"
            remedy = f"the copy or download broke off: {AGAIN}"
        else:
            message = f"{shown} is not a safetensors file ({reason})"
            remedy = "a file of a few lines may be a Git LFS pointer: run 'git lfs pull'"
        raise CheckpointIncomplete(message, remedy=remedy) from exc


def _check_remote_code(
    where: str, checkpoint_dir: Path, config: dict[str, Any], classes: TaskClasses
) -> None:
    """Refuse what only the checkpoint's own classes could load.

    Many checkpoints carry code for versions of transformers that did not know them yet; where
    transformers has a class by now, that one is used and nothing of the checkpoint runs.
    """
    own = {"config.json": _own_class(config, classes.auto_class, "AutoConfig")}
    tokenizer = read_json(where, checkpoint_dir / TOKENIZER_CONFIG)
    own[TOKENIZER_CONFIG] = _own_class(tokenizer, "AutoTokenizer")
    if not any(own.values()):
        return
    from transformers.models.auto import modeling_auto, tokenization_auto

    model_type, named = str(config["model_type"]), tokenizer.get("tokenizer_class")
    if model_type in getattr(modeling_auto, classes.mapping):
        own["config.json"] = None
    if model_type in tokenization_auto.TOKENIZER_MAPPING_NAMES or (
        isinstance(named, str) and tokenization_auto.tokenizer_class_from_name(named)
    ):
        own[TOKENIZER_CONFIG] = None
    for file_name, class_name in own.items():
        if class_name:
            message = f"{where}: {file_name} wants the checkpoint's own code run ({class_name})"
            remedy = "read that code; if you trust it, write 'model.trust_remote_code: true'"
            raise CheckpointUnsafe(message, remedy=remedy)


def _own_class(config: dict[str, Any], *auto_classes: str) -> str | None:
    """Return the class that `auto_map` names; for a tokenizer that is a list of slow and fast."""
    mapped = config.get("auto_map")
    if not isinstance(mapped, dict):
        return None
    for auto_class in auto_classes:
        named = mapped.get(auto_class)
        for name in reversed(named) if isinstance(named, list) else (named,):
            if name:
                return str(name)
    return None
