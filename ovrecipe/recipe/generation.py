"""The generation section: GenAI's GenerationConfig, field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from ovrecipe.recipe.base import Section
from ovrecipe.recipe.frozen import Listed

#: The largest number that GenAI takes as a count of tokens.
LARGEST = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Text = Annotated[str, StringConstraints(min_length=1)]


class Generation(Section):
    """Parameters of generation; an unset one keeps GenAI's (or the checkpoint's) value.

    Source: openvino_genai.GenerationConfig, GenAI 2026.4.
    """

    max_new_tokens: Positive | None = None
    min_new_tokens: Count | None = None
    max_length: Positive | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Count | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    no_repeat_ngram_size: Positive | None = None
    rng_seed: Count | None = None
    ignore_eos: bool | None = None
    eos_token_id: Count | None = None
    stop_strings: Listed[Text] | None = None
    stop_token_ids: Listed[Count] | None = None
    include_stop_str_in_output: bool | None = None
    num_beams: Positive | None = None
    num_beam_groups: Positive | None = None
    diversity_penalty: float | None = None
    length_penalty: float | None = None
    stop_criteria: Literal["EARLY", "HEURISTIC", "NEVER"] | None = None
    num_return_sequences: Positive | None = None
    num_assistant_tokens: Positive | None = None
    assistant_confidence_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    max_ngram_size: Positive | None = None
    branching_factor: Positive | None = None
    tree_depth: Count | None = None
    echo: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return the parameters that were given, by name."""
        return {name: value for name, value in self if value is not None}

    def overridden_by(self, own: Generation) -> Generation:
        """Return these parameters with `own` on top; a null in `own` takes one back."""
        merged = self.given() | {name: getattr(own, name) for name in own.model_fields_set}
        given = {name: value for name, value in merged.items() if value is not None}
        return Generation.model_validate(given)
