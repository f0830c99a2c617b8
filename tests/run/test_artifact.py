"""Which artifact a name means."""

from __future__ import annotations

import json

import pytest

from ovrecipe.errors import NotBuilt, RecipeNotFound
from ovrecipe.recipe.load import load_recipe
from ovrecipe.run.artifact import find_artifact
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.build.making import fake_recipe, publish_fakes, write_recipe
from tests.run.fakes import recipe

RECIPE = recipe(variants={"fp16": {}, "int8": {}, "int4": {}, "int4-npu": {"optional": True}})


def built(project, variant, *, size_bytes=10, **config):
    """Make an artifact that is no model; nothing here opens it."""
    folder = project.store_dir / "assemble" / f"{variant}-sha"
    folder.mkdir(parents=True)
    (folder / "openvino_model.bin").write_bytes(b"x" * size_bytes)
    (folder / "config.json").write_text(json.dumps(config))
    set_view(Store(project.store_dir), project.models_dir, RECIPE.name, variant, folder)


def test_a_named_variant_is_that_one(project):
    """Whatever else is built."""
    built(project, "int4")
    built(project, "fp16", max_position_embeddings=2048)
    found = find_artifact(project, RECIPE, "fp16")
    assert found.variant == "fp16"
    assert found.context_length() == 2048
    assert found.cache_dir == project.store_dir / ".cache" / "fp16-sha"


def test_without_a_name_it_is_int4(project):
    """What most people build the models for."""
    built(project, "int4", size_bytes=99)
    built(project, "int8")
    assert find_artifact(project, RECIPE, None).variant == "int4"


def test_without_int4_it_is_the_smallest(project):
    """The one that fits where others may not."""
    built(project, "fp16", size_bytes=99)
    built(project, "int8", size_bytes=50)
    assert find_artifact(project, RECIPE, None).variant == "int8"


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("int8", "fake:int8 is not built\n  build it with: ovrecipe build fake:int8"),
        (None, "no variant of fake is built\n  build it with: ovrecipe build fake"),
    ],
)
def test_what_is_not_built_is_told_with_the_command_that_builds_it(project, variant, message):
    """The tutorial took any folder for a model (defect 8)."""
    (project.models_dir / "fake" / "int8").mkdir(parents=True)
    with pytest.raises(NotBuilt, match=message):
        find_artifact(project, RECIPE, variant)


def test_a_variant_that_the_recipe_has_not_is_told_with_the_closest(project):
    """Building it would not help."""
    with pytest.raises(RecipeNotFound, match="int4-npu"):
        find_artifact(project, RECIPE, "int4-npus")


def test_a_config_that_does_not_say_its_length_gives_none(project):
    """Then nothing is refused for its length."""
    built(project, "int4")
    assert find_artifact(project, RECIPE, "int4").context_length() is None


@pytest.fixture
def stale_after(project):
    """Build the fake recipe; return whether other sections make its int4 stale."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")

    def answer(**sections):
        write_recipe(project, "m", fake_recipe(**sections))
        changed = load_recipe(project, "m")
        return find_artifact(project, changed, "int4").is_stale(changed)

    return answer


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"id": "made:other"}},
        {"model": {"trust_remote_code": True}},
        {"tokenizer": {"converter": "other"}},
        {"prompt": {"template": "{instruction}!"}},
        {"generation": {"max_new_tokens": 3}},
        {"variants": {"int4": {"compressor": "fake", "group_size": 32}}},
        {"variants": {"int4": {"passes": [{"compressor": "fake", "group_size": 64}]}}},
    ],
)
def test_an_artifact_of_other_settings_is_stale(stale_after, sections):
    """It answers, but not as the recipe of today says."""
    assert stale_after(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"tokenizer": {"converter": "openvino"}},
        {"output": {"filters": ["strip_markers"]}},
        {"variants": {"int8": {}}},
        {"variants": {"int4": {"compressor": "fake", "group_size": 64, "optional": True}}},
    ],
)
def test_what_the_directory_does_not_depend_on_makes_nothing_stale(stale_after, sections):
    """A notice that is wrong now and then is one that nobody reads."""
    assert not stale_after(**sections)


def test_an_artifact_that_does_not_say_what_it_was_built_from_is_not_called_stale(project):
    """Nothing is known, so nothing is said."""
    built(project, "int4")
    assert not find_artifact(project, RECIPE, "int4").is_stale(RECIPE)
