"""The generation section: GenAI's GenerationConfig, field by field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from ovrecipe.recipe.sections import Listed, Objection, Section, refuse

#: The largest number that GenAI takes as a count of tokens.
LARGEST = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Text = Annotated[str, StringConstraints(min_length=1)]
#: What GenAI only looks at while sampling.
SAMPLING = ("temperature", "top_p", "top_k", "min_p")


class Generation(Section):
    """Parameters of generation; an unset one keeps GenAI's (or the checkpoint's) value.

    Several answers at once and draft models are left out: nothing here streams or loads them.
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
    max_ngram_size: Positive | None = None
    echo: bool | None = None

    @model_validator(mode="after")
    def _sampling_parameters_need_sampling(self) -> Generation:
        if self.do_sample is False:
            named = [name for name in SAMPLING if getattr(self, name) is not None]
            reason = "means nothing with do_sample: false; remove it (null where it is inherited)"
            refuse(Objection((name,), reason) for name in named)
        return self

    def given(self) -> dict[str, Any]:
        """Return the parameters that were given, by name."""
        return {name: value for name, value in self if value is not None}

    def overridden_by(self, own: Generation) -> Generation:
        """Return these parameters with `own` on top; a null in `own` takes one back."""
        merged = layered(self.given(), {name: getattr(own, name) for name in own.model_fields_set})
        given = {name: value for name, value in merged.items() if value is not None}
        return Generation.model_validate(given)


def layered(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return one layer of parameters on top of another, which gives way where they contradict.

    `do_sample: false` takes back what is only for sampling, and a parameter that is only for
    sampling takes back `do_sample: false`.
    """
    if own.get("do_sample") is False:
        below = {name: value for name, value in below.items() if name not in SAMPLING}
    elif any(own.get(name) is not None for name in SAMPLING) and below.get("do_sample") is False:
        below = {name: value for name, value in below.items() if name != "do_sample"}
    return {**below, **own}
