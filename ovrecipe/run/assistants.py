"""What answers beside a model: a draft model or prompt lookup, and LoRA adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovrecipe.errors import GenerationParameterRefused, RunError
from ovrecipe.recipe.assistants import Draft
from ovrecipe.wording import perhaps

#: Tokens that are written ahead where nothing says how many.
WRITTEN_AHEAD: int = Draft.model_fields["num_assistant_tokens"].default
#: The longest end of the text that prompt lookup looks for in what came before.
LONGEST_MATCH = 3


@dataclass(frozen=True)
class Assistants:
    """What a pipeline is opened with; `always` names the adapter of requests that name none."""

    draft_dir: Path | None = None
    num_assistant_tokens: int = WRITTEN_AHEAD
    prompt_lookup: bool = False
    #: Files, each with what it is multiplied by.
    adapters: Mapping[str, tuple[Path, float]] = field(default_factory=dict)
    always: str | None = None

    @property
    def write_ahead(self) -> bool:
        """Whether tokens are proposed before the model has written them."""
        return self.prompt_lookup or self.draft_dir is not None


#: A model alone.
NONE = Assistants()


class Assisting:
    """Assistants as GenAI has them loaded."""

    def __init__(self, assistants: Assistants) -> None:
        """Read the adapters.

        Raises:
            RunError: GenAI cannot read one.
        """
        self._assistants = assistants
        self._adapters = {
            name: (opened_adapter(name, path), alpha)
            for name, (path, alpha) in assistants.adapters.items()
        }

    def properties(self, device: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a pipeline is constructed with; a draft model gets its `properties`."""
        from openvino_genai import AdapterConfig, draft_model

        found: dict[str, Any] = {}
        if self._assistants.draft_dir is not None:
            found["draft_model"] = draft_model(self._assistants.draft_dir, device, **properties)
        if self._assistants.prompt_lookup:
            found["prompt_lookup"] = True
        if self._adapters:
            found["adapters"] = AdapterConfig([adapter for adapter, _ in self._adapters.values()])
        return found

    def prepare(self, config: Any, adapter: str | None) -> Any:
        """Set on a generation config what this request needs, and return it.

        Raises:
            GenerationParameterRefused: there is no such adapter, or the request is of a kind that
                GenAI does not write ahead.
        """
        if self._adapters or adapter:
            self._choose(config, self._assistants.always if adapter is None else adapter)
        if self._assistants.write_ahead:
            if config.is_beam_search():
                raise GenerationParameterRefused(
                    "num_beams: GenAI does not write ahead with beams",
                    remedy="leave them out, or the draft model and prompt lookup",
                )
            if config.do_sample and self._assistants.draft_dir is not None:
                raise sampling_refused()
            if not config.assistant_confidence_threshold:
                ahead = self._assistants.num_assistant_tokens
                config.num_assistant_tokens = config.num_assistant_tokens or ahead
            if self._assistants.prompt_lookup:
                config.max_ngram_size = config.max_ngram_size or LONGEST_MATCH
        return config

    def _choose(self, config: Any, name: str | None) -> None:
        from openvino_genai import AdapterConfig

        if not name:
            config.adapters = AdapterConfig()
            return
        check_adapter(name, self._adapters)
        config.adapters = AdapterConfig(*self._adapters[name])


def opened_adapter(name: str, path: Path) -> Any:
    """Return an adapter as GenAI has it.

    Raises:
        RunError: GenAI cannot read its file.
    """
    from openvino_genai import Adapter

    try:
        return Adapter(path)
    except RuntimeError as exc:
        raise RunError(f"adapter '{name}': GenAI cannot read {path.name}") from exc


def sampling_refused() -> GenerationParameterRefused:
    """Return the error of a request that samples beside a draft model.

    GenAI 2026.4 ends most of them with an inner check, and writes nothing ahead from then on.
    """
    return GenerationParameterRefused(
        "do_sample: GenAI fails to sample beside a draft model",
        remedy="ask greedily (--greedy), or without the draft model (--draft '')",
    )


def check_adapter(name: str, known: Mapping[str, object]) -> None:
    """Refuse an adapter that a model does not have.

    Raises:
        GenerationParameterRefused: with those that it has.
    """
    if name and name not in known:
        have = f"it has: {', '.join(known)}" if known else "it has none"
        raise GenerationParameterRefused(
            f"adapter: the model has no '{name}'{perhaps(name, known)}",
            remedy=f"{have}; 'adapters' of a recipe names them, and a build puts them in place",
        )


def vocabulary_objection(model_dir: Path, draft_dir: Path) -> str | None:
    """Return how the tokens of a draft model differ from those of the model; None if not at all.

    What a draft proposes are numbers of tokens, which must mean the same to both.
    """
    from openvino_genai import Tokenizer

    own, drafts = Tokenizer(model_dir), Tokenizer(draft_dir)
    if own.get_eos_token_id() != drafts.get_eos_token_id():
        return "they end their answers with different tokens"
    known, others = own.get_vocab(), drafts.get_vocab()
    different = [token for token in known if others.get(token) != known[token]]
    if different or len(known) != len(others):
        sizes = f"{len(known)} tokens and {len(others)}"
        return f"their vocabularies differ: {sizes}, of which {len(different)} are not the same"
    return None
