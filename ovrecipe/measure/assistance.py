"""Whether a model says the same with what answers beside it: what the gate `check` asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrecipe.errors import GateError, RunError
from ovrecipe.run.assistants import NONE, Assistants, vocabulary_objection
from ovrecipe.run.genai import ATTENTION_BACKEND, GenaiPipeline, open_pipeline
from ovrecipe.types import Json
from ovrecipe.wording import last_line

#: With these a batch of tokens gives the numbers that one at a time gives; GenAI's usual ones
#: quantise activations by what else is in the batch.
EXACTLY: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
}
#: Tokens of each answer that is compared.
COMPARED_TOKENS = 24
#: Sampled tokens have a score, which tells of changes that change no greedy token.
GREEDY = {"do_sample": False}
SAMPLED = {"do_sample": True, "temperature": 1.0, "rng_seed": 0}


@dataclass(frozen=True)
class Questions:
    """What a directory's model is asked: rendered prompts, and with which attention."""

    model_dir: Path
    prompts: Sequence[str]
    special: bool
    backend: str

    def open(self, properties: Mapping[str, Any], assistants: Assistants) -> GenaiPipeline:
        """Open the model.

        Raises:
            GateError: GenAI does not run it so.
        """
        asked = {ATTENTION_BACKEND: self.backend, **properties}
        with _gate_errors(assistants):
            return open_pipeline(
                self.model_dir, "CPU", properties=asked, announce=print, assistants=assistants
            )

    def ask(
        self, pipeline: GenaiPipeline, how: Mapping[str, Any], assistants: Assistants, name: str
    ) -> list[tuple[list[int], float]]:
        """Return the tokens and the score of each answer, with the adapter of that name if any.

        Raises:
            GateError: GenAI does not run it so.
        """
        chosen = {"adapter": name} if assistants.adapters else {}
        with _gate_errors(assistants):
            config = pipeline.configure({"max_new_tokens": COMPARED_TOKENS, **how, **chosen})
            tokens = [
                pipeline.encode(prompt, add_special_tokens=self.special) for prompt in self.prompts
            ]
            answers = [pipeline.llm.generate(each.ids, config) for each in tokens]
        return [([*map(int, answer.tokens[0])], float(answer.scores[0])) for answer in answers]


def check_assistants(questions: Questions, assistants: Assistants) -> dict[str, Json]:
    """Compare greedy answers with and without assistants; return with what they are the same.

    `usual` are GenAI's own properties, `exact` those under which no batch changes a number.

    Raises:
        GateError: they differ, GenAI cannot run the model so, or an adapter changes nothing.
    """
    draft_dir = assistants.draft_dir
    reason = draft_dir and vocabulary_objection(questions.model_dir, draft_dir)
    if reason:
        remedy = "take a smaller model of the same family"
        raise GateError(f"the draft model has other tokens: {reason}", remedy=remedy)
    with closing(questions.open({}, NONE)) as pipeline:
        alone = questions.ask(pipeline, GREEDY, NONE, "")
    with closing(questions.open({}, assistants)) as pipeline:
        beside = questions.ask(pipeline, GREEDY, assistants, "")
        _check_changes(questions, pipeline, assistants)
    if beside == alone:
        return {"same_answers": "usual"}
    with closing(questions.open(EXACTLY, NONE)) as pipeline:
        alone = questions.ask(pipeline, GREEDY, NONE, "")
    with closing(questions.open(EXACTLY, assistants)) as pipeline:
        beside = questions.ask(pipeline, GREEDY, assistants, "")
    if beside != alone:
        raise GateError(
            f"the model answers otherwise {_described(assistants)}: "
            f"{[tokens for tokens, _ in beside]}, not {[tokens for tokens, _ in alone]}",
            remedy="leave it out of the recipe, and report it to OpenVINO GenAI",
        )
    return {"same_answers": "exact"}


def _check_changes(questions: Questions, pipeline: GenaiPipeline, assistants: Assistants) -> None:
    """Refuse an adapter with which the model says what it says without."""
    for name in assistants.adapters:
        without = questions.ask(pipeline, SAMPLED, assistants, "")
        if questions.ask(pipeline, SAMPLED, assistants, name) == without:
            raise GateError(
                f"adapter '{name}' changes nothing of what the model says",
                remedy="its weights are zero, or its alpha is; leave it out",
            )


def _described(assistants: Assistants) -> str:
    if assistants.adapters:
        return "when its adapters are loaded and not used"
    if assistants.prompt_lookup:
        return "with prompt lookup"
    return "alone" if assistants.draft_dir is None else "with the draft model"


@contextmanager
def _gate_errors(assistants: Assistants) -> Iterator[None]:
    try:
        yield
    except (RunError, RuntimeError) as error:
        how = _described(assistants)
        reason = error.message if isinstance(error, RunError) else last_line(error)
        raise GateError(f"OpenVINO GenAI does not run the model {how}: {reason}") from error
