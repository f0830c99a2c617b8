"""What a runner asks the pipeline, and what it refuses to ask."""

from __future__ import annotations

import pytest

from ovrecipe.errors import GenerationParameterRefused, PromptRefused
from ovrecipe.run.prompt import ChatTemplate
from ovrecipe.testing import FakePipeline
from tests.run.fakes import recipe, runner


def test_parameters_of_the_call_go_on_top_of_the_artifacts():
    """GenAI has read the artifact's own, so only what differs is passed, and what always stops."""
    pipeline = FakePipeline()
    own = {"temperature": 0.6, "top_k": 0, "stop_strings": ["###"]}
    with runner(pipeline, parameters=own) as model:
        model.generate("hi", top_p=0.8, stop_strings=["!"], rng_seed=3)
    assert pipeline.configs == [
        {"top_p": 0.8, "do_sample": True, "stop_strings": {"###", "!"}, "rng_seed": 3}
    ]


def test_greedy_switches_the_artifacts_sampling_off():
    """A recipe that samples can still be asked for its likeliest answer."""
    pipeline = FakePipeline()
    with runner(pipeline, parameters={"do_sample": True, "temperature": 0.5}) as model:
        result = model.generate("hi", greedy=True)
    assert pipeline.configs == [{"do_sample": False}]
    assert result.seed is None


def test_each_sampled_answer_has_a_seed_of_its_own():
    """Shown with the result, so that the answer can be had again."""
    pipeline = FakePipeline()
    with runner(pipeline, parameters={"do_sample": True}) as model:
        chat = model.chat()
        seeds = [chat.generate("hi").seed, chat.generate("hi").seed]
        assert model.generate("hi", rng_seed=seeds[0]).seed == seeds[0]
    assert seeds[0] != seeds[1]
    assert [config["rng_seed"] for config in pipeline.configs] == [*seeds, seeds[0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"greedy": True, "temperature": 0.5}, "temperature: means nothing without sampling"),
        ({"do_sample": False, "top_k": 3}, "top_k: means nothing without sampling"),
        ({"greedy": True, "do_sample": True}, "do_sample: cannot be true together with greedy"),
        ({"unknown": 1}, "unknown: the installed GenAI"),
    ],
)
def test_parameters_that_would_be_ignored_are_refused(call, message):
    """Nothing is silently dropped."""
    with runner() as model, pytest.raises(GenerationParameterRefused, match=message):
        model.stream("hi", **call)


def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers():
    """Beyond its positions a model writes nonsense."""
    with (
        runner(context_length=30) as model,
        pytest.raises(PromptRefused, match=r"has 40 tokens .* the 30 positions of fake") as told,
    ):
        model.stream("x" * 34)
    assert "max_new_tokens" not in str(told.value)


def test_an_answer_that_does_not_fit_is_refused_with_what_would():
    """Cutting it short without a word would be a surprise."""
    with runner(context_length=30) as model:
        with pytest.raises(PromptRefused, match="at most 4 with max_new_tokens"):
            model.stream("x" * 20, max_new_tokens=5)
        assert model.generate("x" * 20, max_new_tokens=4).prompt_tokens == 26


def test_bos_written_and_added_is_refused():
    """Two BOS tokens make answers worse, and nothing says so."""
    chosen = recipe(prompt={"template": "^{instruction}", "add_special_tokens": True})
    pipeline = FakePipeline(bos_token_id=ord("^"))
    with (
        runner(pipeline, recipe=chosen) as model,
        pytest.raises(PromptRefused, match="BOS twice"),
    ):
        model.stream("hi")


def test_the_system_text_of_the_call_replaces_the_artifacts():
    """One model, many tasks."""
    pipeline = FakePipeline()
    chosen = recipe(prompt={"template": "{system}|{instruction}", "system": "brief"})
    with runner(pipeline, recipe=chosen) as model:
        model.generate("hi")
        model.generate("hi", system="long")
        model.generate("hi", system="")
    assert pipeline.prompts == ["brief|hi", "long|hi", "|hi"]


def test_a_chat_template_that_leaves_the_system_text_out_is_found_out():
    """Some templates know no system role and say nothing."""
    template = ChatTemplate("{{ messages[-1].content }}")
    with (
        runner(template=template) as model,
        pytest.raises(PromptRefused, match="no place for a system text"),
    ):
        model.stream("hi", system="be brief")


def test_warming_up_generates_one_token():
    """The first inference after loading is slow; it is spent before anyone waits."""
    pipeline = FakePipeline()
    with runner(pipeline) as model:
        model.warm_up()
    assert pipeline.configs == [{"max_new_tokens": 1, "do_sample": False}]
