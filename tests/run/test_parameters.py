"""Generation parameters meet the installed GenAI's own config."""

from __future__ import annotations

import pytest

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.recipe.schema import GenerationParameters
from ovrecipe.run.genai import check_parameters
from ovrecipe.run.parameters import DEFAULT_MAX_NEW_TOKENS, SEEDS, apply, merged, seeded


@pytest.fixture
def config():
    """A fresh config, as an artifact without generation_config.json gives."""
    genai = pytest.importorskip("openvino_genai")
    return genai.GenerationConfig()


def test_an_answer_is_never_unlimited(config):
    """GenAI's own default is 2**64 - 1 tokens."""
    assert apply({}, config).max_new_tokens == DEFAULT_MAX_NEW_TOKENS


def test_a_given_max_length_is_limit_enough(config):
    """It is the artifact's or the user's own word."""
    assert apply({"max_length": 99}, config).max_new_tokens > 10**9


def test_top_k_zero_switches_top_k_off(config):
    """The tutorial left it on (defect 7): with 0 the tail of the distribution is reached."""
    assert apply({"top_k": 0, "do_sample": True}, config).top_k == 0


def test_values_reach_genai_in_its_own_types(config):
    """YAML and JSON have lists and texts only."""
    made = apply(
        {
            "stop_strings": ["a", "b"],
            "stop_token_ids": [2, 3],
            "stop_criteria": "EARLY",
            "rng_seed": 7,
            "max_new_tokens": 5,
        },
        config,
    )
    assert made.stop_strings == {"a", "b"}
    assert made.stop_token_ids == {2, 3}
    assert made.stop_criteria.name == "EARLY"
    assert (made.rng_seed, made.max_new_tokens) == (7, 5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temprature": 1}, "temprature: .* perhaps you meant 'temperature'"),
        ({"gredy": True}, "gredy: .* perhaps you meant 'greedy'"),
        ({"validate": 1}, "validate: the installed GenAI has no such"),
        ({"temperature": 0.0, "do_sample": True}, r"^temperature=0\.0: .*strictly positive"),
        ({"temperature": float("nan")}, "temperature: GenAI does not take nan"),
        ({"top_p": 1.5, "do_sample": True}, r"^top_p=1\.5: "),
        ({"max_new_tokens": 0}, "^max_new_tokens=0: "),
        ({"max_new_tokens": "many"}, "max_new_tokens: GenAI does not take 'many'"),
        ({"top_k": -1}, "top_k: GenAI does not take -1"),
        ({"stop_criteria": "LATE"}, "stop_criteria: GenAI does not take 'LATE'"),
        ({"num_return_sequences": 2}, "num_return_sequences: one answer is streamed"),
        ({"logprobs": 1}, "logprobs: cannot be given"),
        ({"apply_chat_template": True}, "apply_chat_template: cannot be given"),
        ({"structured_output_config": {}}, "structured_output_config: cannot be given; give json"),
        ({"jsn_schema": {}}, "jsn_schema: .* perhaps you meant 'json_schema'"),
        ({"json_schema": False}, "^json_schema: no text can satisfy it"),
        ({"regex": "a", "grammar": "b"}, "^grammar: stands beside regex; keep one of them"),
        ({"regex": "a", "num_beams": 2}, "^num_beams: GenAI would leave the form"),
        ({"repetition_penalty": 0.0}, r"^repetition_penalty=0\.0: "),
        ({"num_beams": 2, "do_sample": True}, "^do_sample=True: .*[Bb]eam search"),
    ],
)
def test_what_genai_does_not_take_is_refused_by_name(config, parameters, message):
    """Not with a path in GenAI's source, and not after the model has begun."""
    with pytest.raises(GenerationParameterRefused, match=message) as told:
        apply(parameters, config)
    assert ".cpp" not in str(told.value)


def test_every_parameter_of_a_recipe_is_known_to_genai(config):
    """The schema promises that they work."""
    known = {name for name in dir(config) if not name.startswith("_")}
    forms = set(dir(pytest.importorskip("openvino_genai").StructuredOutputConfig))
    assert set(GenerationParameters.model_fields) <= known | forms


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "min_p"])
def test_a_sampling_parameter_means_sampling(name):
    """GenAI ignores it otherwise, without a word."""
    assert merged({name: 0.5})["do_sample"] is True


def test_a_seed_alone_does_not_switch_sampling_on():
    """`--seed` on a greedy recipe changes nothing, as one expects."""
    assert merged({"rng_seed": 1}) == {"rng_seed": 1}


def test_none_is_not_given():
    """Options of a command line that were left out."""
    assert merged({"max_new_tokens": None, "top_k": None}) == {}


@pytest.mark.parametrize("call", [{"greedy": True}, {"temperature": 0}, {"temperature": 0.0}])
def test_temperature_zero_means_greedy(call):
    """As everywhere else; GenAI refuses it."""
    assert merged({**call, "max_new_tokens": 3}) == {"do_sample": False, "max_new_tokens": 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"temperature": 0, "top_p": 0.5}, "top_p: means nothing without sampling"),
        ({"temperature": 0, "do_sample": True}, "cannot be true together with temperature 0"),
        ({"greedy": True, "do_sample": True}, "cannot be true together with greedy"),
    ],
)
def test_greedy_and_sampling_contradict_each_other(call, message):
    """One of the two wishes would be dropped without a word."""
    with pytest.raises(GenerationParameterRefused, match=message):
        merged(call)


def test_stop_texts_come_on_top_of_those_that_always_stop():
    """One text is one text, not its letters."""
    assert merged({}, stop=["###"]) == {"stop_strings": {"###"}}
    assert merged({"stop_strings": "end"}, stop=["###"]) == {"stop_strings": {"###", "end"}}
    assert merged({"stop_strings": "end"}, stop="###") == {"stop_strings": {"###", "end"}}
    assert merged({}, stop=None) == {}
    assert merged({"stop_strings": ["a", "b"]}) == {"stop_strings": {"a", "b"}}


def test_sampling_without_a_seed_draws_one():
    """GenAI's own is the same each time."""
    drawn = [seeded({"do_sample": True}, {})[1] for _ in range(5)]
    assert len(set(drawn)) > 1
    assert all(0 <= seed < SEEDS for seed in drawn)
    parameters, seed = seeded({}, {"do_sample": True})
    assert parameters == {"rng_seed": seed}


def test_a_seed_that_is_given_is_kept():
    """The call's before the artifact's; 0 is one too."""
    assert seeded({"rng_seed": 0}, {"do_sample": True, "rng_seed": 4}) == ({"rng_seed": 0}, 0)
    assert seeded({}, {"do_sample": True, "rng_seed": 4}) == ({"rng_seed": 4}, 4)


def test_what_does_not_sample_has_no_seed():
    """It would promise that another one gives another answer."""
    assert seeded({"do_sample": False}, {"do_sample": True}) == ({"do_sample": False}, None)
    assert seeded({}, {}) == ({}, None)


def test_parameters_are_judged_without_a_model(tmp_path):
    """By GenAI, on top of what the artifact carries; 4 s of loading come after it."""
    pytest.importorskip("openvino_genai")
    check_parameters({"min_new_tokens": 9}, tmp_path)
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 5}')
    with pytest.raises(GenerationParameterRefused, match=r"^min_new_tokens=9: .*max_new_tokens"):
        check_parameters({"min_new_tokens": 9}, tmp_path)
