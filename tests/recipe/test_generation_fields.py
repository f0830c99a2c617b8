"""The generation section against GenAI's GenerationConfig."""

from __future__ import annotations

import pytest

from ovrecipe.recipe.generation import Generation

NOT_DATA = {
    "apply_chat_template": "the recipe's prompt decides; a template would be applied twice",
    "logprobs": "probabilities are not handed out",
    "adapters": "an object of a program",
    "parsers": "objects of a program",
    "structured_output_config": "an object of a program",
    "pruning_ratio": "for pictures",
    "relevance_weight": "for pictures",
    "return_omni_outputs": "for speech",
}


@pytest.mark.model
def test_every_parameter_of_genai_is_a_key_or_has_a_reason_not_to_be() -> None:
    """A parameter that GenAI adds must not be missed, nor one it removed kept."""
    import openvino_genai

    config = openvino_genai.GenerationConfig()
    names = {each for each in dir(config) if not each.startswith("_")}
    settable = {each for each in names if not callable(getattr(config, each))}
    assert settable - set(NOT_DATA) == set(Generation.model_fields)
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
        "assistant_confidence_threshold": 0.5,
    }
    config = openvino_genai.GenerationConfig()
    for name, field in Generation.model_fields.items():
        kind = bool if field.annotation == (bool | None) else int
        setattr(config, name, values.get(name, kind(1)))
