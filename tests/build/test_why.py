"""`ovrecipe why` names the field, not the digest."""

from __future__ import annotations

import pytest

from ovrecipe.recipe.project import Project
from tests.build.making import (
    FAKE_PLUGIN,
    context_of,
    do_up_to,
    fake_recipe,
    publish_fakes,
    write_recipe,
)
from tests.conftest import CommandLine
from tests.store.test_verify import break_the_manifest

pytestmark = pytest.mark.slow


def test_a_changed_group_size_is_named_with_both_values(
    ovrecipe: CommandLine, project: Project
) -> None:
    """The first question after an unexpected rebuild is what changed."""
    variants = {"int4": {"compressor": "fake", "group_size": 64}}
    write_recipe(project, "m", {**fake_recipe(), "variants": variants})
    do_up_to(context_of(project), "m", "source", "base", "weights", variant="int4")
    variants["int4"]["group_size"] = 128
    write_recipe(project, "m", {**fake_recipe(), "variants": variants})
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    lines = done.out.splitlines()
    assert "base m: up to date" in lines
    assert "weights m:int4: not built with these settings" in lines
    assert "  passes[0].group_size: 64 -> 128" in lines
    assert "assemble m:int4: never built" in lines


def test_another_models_artifacts_are_no_neighbours(
    ovrecipe: CommandLine, project: Project
) -> None:
    """A list of what two models differ in helps nobody who has never built the one."""
    write_recipe(project, "other", fake_recipe(model={"id": "made:other"}))
    do_up_to(context_of(project), "other", "source", "base", "weights", variant="int4")
    write_recipe(project, "m", fake_recipe())
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    lines = done.out.splitlines()
    assert {"source m: never built", "base m: never built", "weights m:int4: never built"} <= {
        *lines
    }
    assert "other" not in done.out


def test_what_the_recipe_was_built_as_is_a_neighbour_whatever_its_model(
    ovrecipe: CommandLine, project: Project
) -> None:
    """A branch that moved, or another model under an old name, is named as what changed."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    write_recipe(project, "m", fake_recipe(model={"id": "made:other"}))
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    lines = done.out.splitlines()
    assert "assemble m:int4: not built with these settings" in lines
    assert "  model.id: made:checkpoint -> made:other" in lines
    assert "conformance m: not built with these settings" in lines


def test_a_provider_of_a_plugin_is_named_with_its_version(project: Project) -> None:
    """A plugin's new release rebuilds what it made, and says so."""
    write_recipe(project, "m", fake_recipe())
    key = context_of(project).plan("m").key("base")
    assert key is not None
    exporter = key.document["exporter"]
    assert isinstance(exporter, dict)
    assert exporter["provider"] == "fine"
    assert exporter["version"] is not None


def test_a_damaged_artifact_blocks_no_answer(ovrecipe: CommandLine, project: Project) -> None:
    """One bad sector anywhere in the store is no reason to say nothing about this recipe."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    key = context.plan("m").key("base")
    assert key is not None
    break_the_manifest(context.store.artifact_dir(key))
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    assert done.code == 0
    said = "weights m:int4: never built (not compared: 1 damaged artifact"
    assert said in done.out
