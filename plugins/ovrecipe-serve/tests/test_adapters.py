"""LoRA adapters of a recipe: models of their own, which answer otherwise than their parent."""

from __future__ import annotations

import openai
import pytest
from conftest import BERT, CROSS, TWIN

pytestmark = [pytest.mark.model, pytest.mark.slow]


def said(served, model):
    """Return what a model goes on with, and by which name it calls itself."""
    answer = served.client().completions.create(
        model=model,
        prompt="Paris is",
        max_tokens=12,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    return answer.choices[0].text, answer.model


def test_an_adapter_is_a_model_that_is_loaded_when_it_is_asked(tiny):
    """In a process of its own; the one that is always on is its parent's."""
    states = tiny.states()
    assert states[TWIN] == "ready"
    assert (states[f"{TWIN}@"], states[f"{TWIN}@louder"]) == ("unloaded", "unloaded")
    names = (TWIN, f"{TWIN}@", f"{TWIN}@louder")
    texts = {said(tiny, name) for name in names}
    assert len({text for text, _ in texts}) == 3
    assert {model for _, model in texts} == set(names)
    assert tiny.states()[f"{TWIN}@louder"] == "ready"
    assert said(tiny, f"{TWIN}@loud") == said(tiny, TWIN)
    assert said(tiny, "twin@louder") == said(tiny, f"{TWIN}@louder")


def test_the_list_of_models_has_adapters_with_their_parent(tiny):
    """And models of other tasks."""
    listed = {one.id: one.model_extra for one in tiny.client().models.list().data}
    assert set(listed) == {TWIN, f"{TWIN}@", f"{TWIN}@louder", BERT, CROSS}
    assert listed[TWIN]["adapter"] == "loud"
    assert (
        listed[f"{TWIN}@louder"] | {"adapter": "louder", "parent": TWIN} == listed[f"{TWIN}@louder"]
    )
    assert [listed[name]["task"] for name in (TWIN, BERT)] == ["text-generation", "text-embedding"]


def test_an_adapter_that_is_not_there_is_no_model(tiny):
    """The near name is told; nothing of the name is looked for among files."""
    with pytest.raises(openai.NotFoundError, match=f"perhaps you meant '{TWIN}@louder'") as told:
        said(tiny, f"{TWIN}@loudr")
    assert told.value.code == "model_not_found"
    for name in (f"{TWIN}@../loud.safetensors", "@louder", f"{BERT}@louder", f"{TWIN}@@"):
        with pytest.raises(openai.NotFoundError, match="does not exist here"):
            said(tiny, name)
