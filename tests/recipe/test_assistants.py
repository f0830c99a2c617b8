"""What a recipe lets answer beside its model: which of it names nothing or does not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ovrecipe.recipe.schema import settings_of

if TYPE_CHECKING:
    from .conftest import Recipes

BEGIN = "model: {id: a}\n"


def test_a_draft_model_is_for_all_variants_but_itself(recipes: Recipes) -> None:
    """A variant may have another one, and `prompt_lookup` of its own."""
    recipe = recipes.load(
        BEGIN + "variants: {fp16: {}, int8: {draft: {recipe: other:int4}}, int4: {}}\n"
        "draft: {recipe: r:int4}\n"
    )
    drafts = {name: recipe.draft_of(name) for name in recipe.variants}
    named = {name: draft and draft.recipe for name, draft in drafts.items()}
    assert named == {"fp16": "r:int4", "int8": "other:int4", "int4": None}


def test_a_recipe_without_assistants_has_the_key_that_it_always_had(recipes: Recipes) -> None:
    """What is built stays built when ovrecipe learns something new."""
    plain = recipes.load(BEGIN + "variants: {int4: {}}\n")
    assert settings_of(plain, "int4").keys() == {
        *("model", "tokenizer", "prompt", "variant", "generation"),
    }
    more = recipes.load(BEGIN + "variants: {int4: {prompt_lookup: true}, int8: {}}\n")
    assert settings_of(more, "int4")["prompt_lookup"] is True
    assert settings_of(more, "int8") == settings_of(
        recipes.load(BEGIN + "variants: {int8: {}}\n"), "int8"
    )
    assert settings_of(more, "int4")["variant"] == {"precision": "int4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int4: {draft: {recipe: r:int4}}", "variants.int4.draft: a model cannot write ahead of"),
        ("int4: {draft: {recipe: small}}", "int4.draft.recipe: must be NAME:VARIANT, got 'small'"),
        ("int4: {draft: {recipe: r:int5}}", "int4.draft.recipe: there is no variant 'int5'"),
        (
            "int4: {prompt_lookup: true, draft: {recipe: o:int4}}",
            "variants.int4.prompt_lookup: stands beside a draft model (o:int4); keep one",
        ),
        ("int4: {draft: {recipe: o:int4, num_assistant_tokens: 0}}", "num_assistant_tokens: must"),
    ],
)
def test_a_draft_model_that_cannot_write_ahead_is_refused(
    recipes: Recipes, text: str, message: str
) -> None:
    """Before anything is built."""
    assert message in recipes.refusal(f"{BEGIN}variants: {{{text}}}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "adapters: {a: {path: a, always: true}, b: {path: b, always: true}}",
            "adapters.b.always: 'a' is always used already; one at a time",
        ),
        (
            "draft: {recipe: o:int4}\ngeneration: {temperature: 0.5}",
            "draft: GenAI fails to sample beside a draft model; add generation: {do_sample: false}",
        ),
        ("adapters: {a: {}}", "adapters.a.path: "),
    ],
)
def test_what_does_not_go_together_is_refused(recipes: Recipes, text: str, message: str) -> None:
    """GenAI would fail, or answer with one of them."""
    assert message in recipes.refusal(f"{BEGIN}variants: {{int4: {{}}}}\n{text}\n")


def test_an_adapter_that_is_not_there_is_named_by_its_place(recipes: Recipes) -> None:
    """`ovrecipe validate` says it, before an export."""
    found = recipes.judged(BEGIN + "variants: {int4: {}}\nadapters: {a: {path: none}}\n")
    assert found.startswith("recipes/r.yaml:3:16: adapters.a.path: none: no such file, nor a")
