"""How a model is asked that makes vectors or scores of texts: the recipe's word, else its files'.

The files are those of sentence-transformers, which most such checkpoints bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ovrecipe.errors import ArtifactCorrupt, CheckpointIncomplete, RecipeInvalid
from ovrecipe.json_files import (
    CHAT_TEMPLATE,
    TOKENIZER_CONFIG,
    VECTOR_CONFIG,
    read_object,
    write_object,
)
from ovrecipe.recipe.problems import Problem, place_in_recipe, problems_of
from ovrecipe.recipe.schema import Embedding, Recipe, Vectors
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName
from ovrecipe.recipe.yaml_reader import Loc

MODULES, PROMPTS = "modules.json", "config_sentence_transformers.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
#: What the runner does for each step that sentence-transformers has behind the tokenizer.
STEPS = ("Transformer", "Pooling", "Normalize")
Pooling = Literal["cls", "mean", "last_token"]
#: sentence-transformers' names of ours: a switch each, or the value of `pooling_mode`.
POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last_token",
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last_token",
}
#: Architectures whose positions begin behind the id of the padding token.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "xmod")
#: What a tokenizer says that knows no bound is a number far beyond this one.
NO_BOUND = 10**7


class VectorSettings(BaseModel, frozen=True, extra="forbid"):
    """How a built model is asked; `pooling` and `normalize` are of embeddings only."""

    task: TaskName
    max_length: int
    query_instruction: str = ""
    document_instruction: str = ""
    pooling: Pooling | None = None
    normalize: bool | None = None

    def save(self, model_dir: Path) -> None:
        """Write them beside the model."""
        write_object(model_dir / VECTOR_CONFIG, self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def load(cls, model_dir: Path) -> VectorSettings:
        """Read those of a built model.

        Raises:
            ArtifactCorrupt: they are missing or damaged.
        """
        found = read_object(model_dir / VECTOR_CONFIG, error=ArtifactCorrupt)
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            found_wrong = "; ".join(map(str, problems_of(error, model=cls)))
            raise ArtifactCorrupt(
                f"{model_dir / VECTOR_CONFIG}: {found_wrong}",
                remedy="'ovrecipe verify --remove' removes what is damaged",
            ) from error


def resolved(recipe: Recipe, checkpoint_dir: Path) -> VectorSettings:
    """Return the settings of a recipe, with what it leaves out as the checkpoint says.

    Raises:
        RecipeInvalid: neither says what is needed, or the checkpoint does what nobody here can.
        CheckpointIncomplete: one of the checkpoint's files is damaged.
    """
    files = _SentenceFiles(recipe, checkpoint_dir)
    if recipe.task == RERANK:
        files.check_reads_pairs(recipe.rerank)
    sections: Mapping[TaskName, Vectors] = {EMBEDDING: recipe.embedding, RERANK: recipe.rerank}
    section, prompts = sections[recipe.task], files.prompts()
    default = prompts.get("default", "")
    common: dict[str, Any] = {
        "query_instruction": prompts.get("query", default),
        "document_instruction": prompts.get("document", prompts.get("passage", default)),
        "max_length": files.max_length(section.max_length),
    }
    given = {name: value for name, value in section if value is not None}
    own = files.embedding(section) if isinstance(section, Embedding) else {}
    return VectorSettings(task=recipe.task, **{**common, **own, **given})


class _SentenceFiles:
    """The files of a checkpoint, seen from a recipe that may overrule them."""

    def __init__(self, recipe: Recipe, checkpoint_dir: Path) -> None:
        self._recipe = recipe
        self._checkpoint_dir = checkpoint_dir

    def _read(self, name: str) -> dict[str, Any]:
        path = self._checkpoint_dir / name
        return read_object(path, shown=f"the checkpoint's {name}", error=CheckpointIncomplete)

    def _refusal(self, loc: Loc, reason: str, remedy: str | None = None) -> RecipeInvalid:
        problem = Problem(place_in_recipe(self._recipe, loc), loc, reason)
        return RecipeInvalid(str(problem), remedy=remedy)

    def check_reads_pairs(self, section: Vectors) -> None:
        """Refuse a reranker that is asked in a chat: read as a plain pair, it scores wrongly.

        Its scores look like any other, and equal those of its source read in the same wrong way.
        A recipe that gives an instruction itself, be it empty, has said how the model is asked.
        """
        other = "take a cross-encoder, as BAAI/bge-reranker-v2-m3"
        architectures = self._read("config.json").get("architectures") or ()
        if found := [name for name in architectures if str(name).endswith("ForCausalLM")]:
            reason = (
                f"the checkpoint is {found[0]}, which answers yes or no in a chat and has no layer "
                "that scores texts"
            )
            raise self._refusal(("task",), reason, other)
        has_template = (self._checkpoint_dir / CHAT_TEMPLATE).is_file() or (
            "chat_template" in self._read(TOKENIZER_CONFIG)
        )
        is_said = {section.query_instruction, section.document_instruction} != {None}
        if has_template and not is_said:
            reason = (
                "the checkpoint has a chat template, as rerankers have that are asked in a chat "
                "(Qwen3-Reranker); GenAI would read plain pairs and score them otherwise"
            )
            plain = "if it was trained on plain pairs, write 'rerank: {query_instruction: \"\"}'"
            raise self._refusal(("task",), reason, f"{other}; {plain}")

    def embedding(self, section: Embedding) -> dict[str, Any]:
        """Return `pooling` and `normalize`, for a recipe that may give either."""
        steps = self._steps()
        unknown = [kind for kind in steps if kind not in STEPS]
        if unknown:
            reason = (
                f"the checkpoint's embeddings pass a step '{unknown[0]}', which nobody here has"
            )
            raise self._refusal(("task",), reason, "use another checkpoint")
        pooling = section.pooling or self._pooling(steps.get("Pooling"))
        return {"pooling": pooling, "normalize": "Normalize" in steps or not steps}

    def _steps(self) -> dict[str, str]:
        """Return the folder of each step by its kind; none where the checkpoint does not say."""
        path = self._checkpoint_dir / MODULES
        if not path.is_file():
            return {}
        import json

        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(one["type"]).rpartition(".")[2]: str(one["path"]) for one in found}
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"the checkpoint's {MODULES} is no list of modules ({error})"
            raise CheckpointIncomplete(message) from error

    def _pooling(self, folder: str | None) -> Pooling:
        """Return how the checkpoint makes one vector of its tokens'."""
        name = f"{folder}/config.json"
        config = {} if folder is None else self._read(name)
        modes = [key for key in config if key.startswith("pooling_mode_") and config[key] is True]
        if not modes and isinstance(config.get("pooling_mode"), str):
            modes = [config["pooling_mode"]]
        choices = "write 'pooling: cls', 'mean' or 'last_token' under 'embedding'"
        if not modes:
            reason = "is not given, and the checkpoint does not say how its tokens are pooled"
            raise self._refusal(("embedding", "pooling"), reason, choices)
        if len(modes) > 1 or modes[0] not in POOLINGS or config.get("include_prompt") is False:
            reason = f"the checkpoint pools in a way that nobody here has ({name}: {modes})"
            raise self._refusal(("embedding", "pooling"), reason, f"to pool otherwise, {choices}")
        return POOLINGS[modes[0]]

    def prompts(self) -> dict[str, str]:
        """Return the checkpoint's instructions by name; `default` is that of every text."""
        config = self._read(PROMPTS)
        found = {str(name): str(text) for name, text in (config.get("prompts") or {}).items()}
        default = config.get("default_prompt_name")
        return {**found, "default": found.get(default, "")} if default else found

    def max_length(self, given: int | None) -> int:
        """Return how many tokens of a text are read: never more than there are positions."""
        most = positions(self._checkpoint_dir)
        if given is not None and given > most:
            loc = (self._recipe.task.removeprefix("text-"), "max_length")
            raise self._refusal(loc, f"{given} is more than the {most} positions of the model")
        said = self._read(SENTENCE_CONFIG).get("max_seq_length")
        return min(most, said) if isinstance(said, int) else most


def positions(checkpoint_dir: Path) -> int:
    """Return how many tokens a checkpoint reads at most, special ones included.

    Raises:
        CheckpointIncomplete: neither model nor tokenizer has a bound.
    """
    config = read_object(checkpoint_dir / "config.json", error=CheckpointIncomplete)
    tokenizer = read_object(checkpoint_dir / TOKENIZER_CONFIG, error=CheckpointIncomplete)
    bounds = [tokenizer.get("model_max_length")]
    most = config.get("max_position_embeddings")
    if isinstance(most, int):
        is_behind = config.get("model_type") in OFFSET_POSITIONS
        bounds.append(most - (int(config.get("pad_token_id") or 0) + 1 if is_behind else 0))
    known = [int(bound) for bound in bounds if isinstance(bound, int | float) and bound < NO_BOUND]
    if not known:
        message = "neither config.json nor tokenizer_config.json says how many tokens are read"
        raise CheckpointIncomplete(f"the checkpoint: {message}")
    return min(known)
