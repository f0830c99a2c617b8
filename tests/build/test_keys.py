"""What an artifact's key depends on, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from ovrecipe.build.stages import STAGES
from ovrecipe.errors import RecipeNotFound
from ovrecipe.recipe.project import Project
from tests.build.making import context_of, fake_recipe, work_on, write_recipe


def keys_of(project: Project, document: dict[str, Any], name: str = "m") -> dict[str, str]:
    """Return every key of a recipe, by stage and variant."""
    write_recipe(project, name, document)
    plan = context_of(project).plan(name)
    found = {}
    for stage in STAGES:
        for variant in plan.recipe.variants if stage.per_variant else (None,):
            key = plan.key(stage.name, variant)
            assert key is not None
            found[f"{stage.name}:{variant}" if variant else stage.name] = key.sha256
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the stages whose key is another one."""
    return {name for name in before if before[name] != after[name]}


def test_a_prompt_changes_no_heavy_stage(project: Project) -> None:
    """A prompt is text; exporting and compressing never see it."""
    before = keys_of(project, fake_recipe())
    after = keys_of(project, fake_recipe(prompt={"template": "{instruction}!"}))
    assert changed(before, after) == {
        "conformance",
        "assemble:int4",
        "assemble:int4-other",
        "check:int4",
        "check:int4-other",
    }


def test_special_tokens_are_a_matter_of_asking(project: Project) -> None:
    """The gate of the tokenizer compares with and without them, whatever the recipe says."""
    before = keys_of(project, fake_recipe())
    prompt = {"add_special_tokens": True, "stop": ["Q:"]}
    assert "conformance" not in changed(before, keys_of(project, fake_recipe(prompt=prompt)))


def test_gates_name_the_packages_that_they_call(project: Project) -> None:
    """A result of another GenAI says nothing about this one."""
    write_recipe(project, "m", fake_recipe())
    plan = context_of(project).plan("m")
    check, conformance = plan.key("check", "int4"), plan.key("conformance")
    assert check is not None
    assert conformance is not None
    assert {"openvino", "openvino-genai"} <= {*check.document["packages"]}  # type: ignore[arg-type,misc]
    assert {"openvino-tokenizers", "tokenizers", "transformers"} <= {
        *conformance.document["packages"]  # type: ignore[misc]
    }


def test_options_of_a_compressor_are_in_the_key_with_their_defaults(project: Project) -> None:
    """Writing down a default compresses nothing anew, another value does."""
    variant: dict[str, Any] = {"compressor": "picky"}
    before = keys_of(project, fake_recipe(variants={"int4": variant}))
    variant["options"] = {"max_size_mb": 40}
    same = keys_of(project, fake_recipe(variants={"int4": variant}))
    assert same["weights:int4"] == before["weights:int4"]
    variant["options"] = {"max_size_mb": 41}
    after = keys_of(project, fake_recipe(variants={"int4": variant}))
    assert after["weights:int4"] != before["weights:int4"]


def test_a_draft_model_is_read_by_the_gate_only(project: Project) -> None:
    """Another draft model is another comparison, and no other model."""
    other = {"compressor": "fake", "group_size": 32}
    drafted = {**other, "draft": {"recipe": "m:int4"}}
    before = keys_of(project, fake_recipe(variants={"int4-other": other}))
    after = keys_of(project, fake_recipe(variants={"int4-other": drafted}))
    assert changed(before, after) == {"assemble:int4-other", "check:int4-other"}
    smaller = {"int4": {"compressor": "fake", "group_size": 128}, "int4-other": drafted}
    third = keys_of(project, fake_recipe(variants=smaller))
    assert "check:int4-other" in changed(after, third)
    assert "assemble:int4-other" not in changed(after, third)


def test_a_draft_model_of_another_recipe_is_one_of_its_tasks(project: Project) -> None:
    """It is built before the gate that reads it, and a misspelt one is named at once."""
    write_recipe(project, "small", fake_recipe())
    draft = {"draft": {"recipe": "small:int4"}}
    write_recipe(project, "m", {**fake_recipe(), **draft})
    work = work_on(context_of(project), "m", "check", "int4")
    assert {needed.title for needed in work.needs()} >= {"assemble m:int4", "assemble small:int4"}
    write_recipe(project, "m", {**fake_recipe(), "draft": {"recipe": "smal:int4"}})
    with pytest.raises(RecipeNotFound, match="no recipe 'smal' in recipes/; perhaps you meant"):
        context_of(project).plan("m").judge()


def test_group_size_changes_its_variant_only(project: Project) -> None:
    """The neighbour variant and the base stay as they are."""
    before = keys_of(project, fake_recipe())
    variant = {"int4": {"compressor": "fake", "group_size": 128}}
    after = keys_of(project, fake_recipe(variants=variant))
    assert changed(before, after) == {"weights:int4", "assemble:int4", "check:int4"}


def test_output_filters_change_nothing(project: Project) -> None:
    """Filters work on text that is shown; nothing that is built depends on them."""
    before = keys_of(project, fake_recipe())
    assert not changed(before, keys_of(project, fake_recipe(output={"filters": ["stop_at"]})))


def test_generation_of_a_variant_changes_that_variants_directory(project: Project) -> None:
    """generation_config.json is part of the directory, the weights are not touched."""
    before = keys_of(project, fake_recipe())
    variant = {"compressor": "fake", "group_size": 64, "generation": {"max_new_tokens": 9}}
    after = keys_of(project, fake_recipe(variants={"int4": variant}))
    assert changed(before, after) == {"assemble:int4", "check:int4"}


def test_another_checkpoint_changes_everything(project: Project) -> None:
    """Every stage stands on the checkpoint."""
    before = keys_of(project, fake_recipe())
    after = keys_of(project, fake_recipe(model={"id": "made:other", "exporter": "fine"}))
    assert changed(before, after) == set(before)


def test_two_recipes_with_one_model_share_their_base(project: Project) -> None:
    """The name of a recipe is in no key."""
    assert keys_of(project, fake_recipe(), "a") == keys_of(project, fake_recipe(), "b")


@pytest.mark.parametrize("spelling", ["1.0", "1"])
def test_spelling_of_a_number_changes_nothing(project: Project, spelling: str) -> None:
    """A key is made of values, not of the text of the file."""
    path = write_recipe(project, "m", fake_recipe())
    text = path.read_text().replace("group_size: 64", f"group_size: 64\n    ratio: {spelling}")
    path.write_text(text)
    key = context_of(project).plan("m").key("weights", "int4")
    assert key is not None
    assert key.document["passes"] == [
        {
            "compressor": key.document["passes"][0]["compressor"],  # type: ignore[index,call-overload]
            "group_size": 64,
            "ratio": 1.0,
        }
    ]


def test_the_text_of_a_data_set_is_in_the_key(project: Project) -> None:
    """Statistics of another data set are never reused."""
    data = project.recipes_dir / "texts.txt"
    variant = {"compressor": "fake", "group_size": 64, "dataset": "texts.txt"}
    data.write_text("one\n")
    before = keys_of(project, fake_recipe(variants={"int4": variant}))
    data.write_text("two, longer\n")
    after = keys_of(project, fake_recipe(variants={"int4": variant}))
    assert changed(before, after) == {"weights:int4", "assemble:int4", "check:int4"}


def test_a_key_names_versions_of_the_packages_it_calls(project: Project) -> None:
    """Upgrading a package rebuilds what it made, so its version is in the key."""
    write_recipe(project, "m", fake_recipe())
    plan = context_of(project).plan("m")
    base, weights = plan.key("base"), plan.key("weights", "int4")
    assert base is not None
    assert weights is not None
    assert "pluggy" in base.document["exporter"]["packages"]  # type: ignore[index,call-overload,operator]
    assert "pyyaml" not in str(base.document)
    assert "pyyaml" in str(weights.document)
