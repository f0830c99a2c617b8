"""The generation section against GenAI's GenerationConfig."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ovrecipe.recipe.forms import FORMS
from ovrecipe.recipe.schema import SAMPLING, GenerationParameters

from .conftest import Recipes

NOT_DATA = {
    "apply_chat_template": "the recipe's prompt decides; a template would be applied twice",
    "logprobs": "probabilities are not handed out",
    "num_return_sequences": "one answer is streamed",
    "num_assistant_tokens": "for a draft model, which a recipe cannot name",
    "assistant_confidence_threshold": "for a draft model",
    "branching_factor": "for a draft model",
    "tree_depth": "for a draft model",
    "adapters": "an object of a program",
    "parsers": "objects of a program",
    "structured_output_config": "an object of a program; json_schema, regex and grammar say it",
    "pruning_ratio": "for pictures",
    "relevance_weight": "for pictures",
    "return_omni_outputs": "for speech",
}


@pytest.mark.parametrize("name", NOT_DATA)
def test_what_no_run_could_honour_is_refused(name: str) -> None:
    """Better when the recipe is read than when the model is there and asked."""
    with pytest.raises(ValidationError, match=rf"(?s){name}\n.*not permitted"):
        GenerationParameters.model_validate({name: 2})


@pytest.mark.parametrize("name", SAMPLING)
def test_a_sampling_parameter_without_sampling_is_refused(name: str) -> None:
    """As in a call: one of the two would be ignored."""
    with pytest.raises(ValidationError, match=f"{name}: means nothing with do_sample: false"):
        GenerationParameters.model_validate(
            {name: 1 if name == "top_k" else 0.5, "do_sample": False}
        )


def test_fewer_tokens_at_most_than_at_least_are_refused(recipes: Recipes) -> None:
    """GenAI would say so after the model was loaded."""
    below = "model: {id: a}\ngeneration: {max_new_tokens: 5, min_new_tokens: 6}\n"
    message = "generation.min_new_tokens: 6 is above max_new_tokens, which is 5"
    found = recipes.refusal(below + "variants: {int8: {}}\n")
    assert found == f"recipes/r.yaml:2:33: {message}"
    variant = below.replace("6", "4") + "variants: {int8: {generation: {min_new_tokens: 6}}}\n"
    assert recipes.refusal(variant) == f"recipes/r.yaml:3:32: variants.int8.{message}"
    assert recipes.load(variant.replace("6", "5")).generation_of("int8").min_new_tokens == 5


def effective(recipe: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    below, own = (
        GenerationParameters.model_validate(recipe),
        GenerationParameters.model_validate(variant),
    )
    return below.overridden_by(own).given()


def test_a_variant_that_does_not_sample_needs_no_sampling_parameters() -> None:
    """It would have to name each of the recipe's with a null otherwise."""
    recipe = {"do_sample": True, "temperature": 0.5, "max_new_tokens": 9}
    expected = {"do_sample": False, "max_new_tokens": 9}
    assert effective(recipe, {"do_sample": False}) == expected
    assert effective({"temperature": 0.5}, {"temperature": None}) == {}


def test_a_variant_that_names_a_sampling_parameter_samples() -> None:
    """Whatever the recipe says of the others."""
    assert effective({"do_sample": False}, {"top_p": 0.5}) == {"top_p": 0.5}
    assert effective({"do_sample": False}, {"top_p": None}) == {"do_sample": False}


@pytest.mark.model
def test_every_parameter_of_genai_is_a_key_or_has_a_reason_not_to_be() -> None:
    """A parameter that GenAI adds must not be missed, nor one it removed kept."""
    import openvino_genai

    config = openvino_genai.GenerationConfig()
    names = {name for name in dir(config) if not name.startswith("_")}
    settable = {name for name in names if not callable(getattr(config, name))}
    assert settable - set(NOT_DATA) == set(GenerationParameters.model_fields) - {*FORMS}
    assert set(NOT_DATA) <= settable


@pytest.mark.model
def test_genai_takes_every_parameter_as_it_is_given() -> None:
    """Bounds and types are GenAI's; what a recipe accepts can be set."""
    import openvino_genai

    values = {
        "stop_strings": {"a"},
        "stop_token_ids": {1},
        "stop_criteria": openvino_genai.StopCriteria.EARLY,
        "temperature": 0.5,
        "top_p": 0.5,
        "min_p": 0.5,
        "repetition_penalty": 1.5,
        "presence_penalty": -2.0,
        "frequency_penalty": 2.0,
        "diversity_penalty": 0.5,
        "length_penalty": 0.5,
    }
    config = openvino_genai.GenerationConfig()
    for name, field in GenerationParameters.model_fields.items():
        if name in FORMS:
            continue
        kind = bool if field.annotation == (bool | None) else int
        setattr(config, name, values.get(name, kind(1)))
