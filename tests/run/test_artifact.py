"""Which artifact a name means."""

from __future__ import annotations

import json

import pytest

from ovrecipe.errors import NotBuilt, RecipeNotFound
from ovrecipe.run.artifact import find_artifact
from ovrecipe.store.views import set_view
from tests.run.fakes import recipe

RECIPE = recipe(variants={"fp16": {}, "int8": {}, "int4": {}, "int4-npu": {"optional": True}})


def built(project, variant, *, size_bytes=10, **config):
    """Make an artifact that is no model; nothing here opens it."""
    folder = project.store_dir / "assemble" / f"{variant}-sha"
    folder.mkdir(parents=True)
    (folder / "openvino_model.bin").write_bytes(b"x" * size_bytes)
    (folder / "config.json").write_text(json.dumps(config))
    set_view(project.models_dir, RECIPE.name, variant, folder)


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
