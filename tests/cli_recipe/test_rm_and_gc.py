"""`ovrecipe rm`, and whose artifacts `ovrecipe gc` says it removes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ovrecipe.build.stages import STAGES
from ovrecipe.recipe.project import find_project
from ovrecipe.store.views import set_view, view_target
from tests.build.making import FAKE_PLUGIN, PASSED, context_of, do_up_to, fake_recipe
from tests.store.making import key_of, make

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from tests.conftest import CommandLine, Outcome

Call = Any


@pytest.fixture
def ovrecipe_(project: Path, ovrecipe: CommandLine) -> Callable[..., Outcome]:
    """Call the command with the plugin that makes fakes."""
    return partial(ovrecipe, "-p", FAKE_PLUGIN)


def built(project: Path, name: str, **variants: int) -> BuildContext:
    """Write a recipe of variants with these group sizes, and publish what a build would."""
    recipe = fake_recipe()
    recipe["variants"] = {
        variant: {"compressor": "fake", "precision": "int4", "group_size": group_size}
        for variant, group_size in variants.items()
    }
    (project / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    context = context_of(find_project(project, {}))
    plan, models_dir = context.plan(name), context.project.models_dir
    for variant in variants:
        for stage in STAGES:
            key = plan.key(stage.name, variant)
            assert key is not None
            with context.store.staging(key) as staging_dir:
                (staging_dir / "made").write_text(f"{stage.name} {variant}")
                made_for = f"{name}:{variant}" if stage.per_variant else name
                context.store.publish(key, staging_dir, facts={"made_for": made_for, **PASSED})
        assembled = plan.key("assemble", variant)
        assert assembled is not None
        set_view(context.store, models_dir, name, variant, context.store.artifact_dir(assembled))
    return context


def stages(context: BuildContext) -> list[str]:
    """Return the stages of all artifacts in the store."""
    return [stage for stage, _, _ in context.store.folders()]


def stored(project: Path) -> list[tuple[str, str]]:
    """Return what is in the store now."""
    store = context_of(find_project(project, {})).store
    return [(stage, sha256) for stage, sha256, _ in store.folders()]


def removed(done: Outcome) -> list[tuple[str, str]]:
    """Return whose artifact of which stage is named, from the JSON of a call."""
    rows = json.loads(done.out)["removals"]
    return sorted((row["recipe"] or "", row["name"].split("/")[0]) for row in rows)


def test_a_build_notes_for_whom_it_makes_an_artifact(project: Path) -> None:
    """Once the recipe has changed, its keys lead nowhere any more."""
    (project / "recipes" / "one.yaml").write_text(yaml.safe_dump(fake_recipe()))
    context = context_of(find_project(project, {}))
    do_up_to(context, "one", "source", "base", "weights", variant="int4")
    noted = {stage: manifest.facts["made_for"] for stage, _, manifest in context.store.artifacts()}
    assert noted == {"source": "one", "base": "one", "weights": "one:int4"}


def test_rm_of_a_variant_keeps_what_the_others_need(project: Path, ovrecipe_: Call) -> None:
    """The base is the dearest thing to make again."""
    context = built(project, "one", a=64, b=32)
    done = ovrecipe_("rm", "one:a")
    assert done.code == 0
    assert stages(context) == [
        "assemble", "base", "check", "conformance", "reference", "source", "tokenizer",
        "weights",
    ]  # fmt: skip
    assert view_target(context.project.models_dir, "one", "a") is None
    assert view_target(context.project.models_dir, "one", "b") is not None
    assert "view      one:a\n" in done.out
    assert "3 artifacts, 1 view removed, " in done.out
    assert "freed, 8 artifacts kept" in done.out
    assert ovrecipe_("list").out.startswith("one  a ·  b ✓")


def test_a_dry_run_says_the_same_and_removes_nothing(project: Path, ovrecipe_: Call) -> None:
    """The bytes that come back, to the byte."""
    context = built(project, "one", a=64, b=32)
    before = stored(project)
    said = json.loads(ovrecipe_("rm", "one:a", "--dry-run", "--json").out)
    assert stored(project) == before
    assert view_target(context.project.models_dir, "one", "a") is not None
    done = json.loads(ovrecipe_("rm", "one:a", "--json").out)
    assert said == {**done, "dry_run": True}
    assert done["views"] == ["one:a"]
    assert done["freed_bytes"] == sum(removal["size_bytes"] for removal in done["removals"]) > 0


def test_rm_of_a_recipe_takes_all_that_no_other_needs(project: Path, ovrecipe_: Call) -> None:
    """The recipe itself is the user's work and stays."""
    built(project, "one", a=64, b=32)
    context = built(project, "two", a=16)
    done = ovrecipe_("rm", "one", "--json")
    assert removed(done) == [
        (f"one:{variant}", stage)
        for variant in ("a", "b")
        for stage in ("assemble", "check", "weights")
    ]
    assert ovrecipe_("rm", "two").code == 0
    shared = ["base", "conformance", "reference", "source", "tokenizer"]
    assert stages(context) == shared  # wanted by the recipe `one` still
    (project / "recipes" / "two.yaml").unlink()
    assert removed(ovrecipe_("rm", "one", "--json")) == [("one", stage) for stage in shared]
    assert stages(context) == []
    assert (project / "recipes" / "one.yaml").exists()


def test_what_was_made_for_it_with_other_settings_goes_as_well(
    project: Path, ovrecipe_: Call
) -> None:
    """And nothing of others that only gc may take."""
    built(project, "one", a=64)
    context = built(project, "one", a=32)
    make(context.store, key_of("weights", group_size=1))
    assert stages(context).count("weights") == 3
    assert ("one:a", "weights") in removed(ovrecipe_("gc", "--dry-run", "--json"))
    assert ovrecipe_("rm", "one:a").code == 0
    assert stages(context) == ["weights"]


def test_rm_needs_no_recipe(project: Path, ovrecipe_: Call) -> None:
    """It was deleted or renamed, and its models lie around."""
    context = built(project, "one", a=64)
    (project / "recipes" / "one.yaml").unlink()
    assert ovrecipe_("rm", "one").code == 0
    assert stages(context) == []
    assert not (context.project.models_dir / "one").exists()


def test_what_a_view_of_another_project_needs_stays(
    project: Path, tmp_path: Path, ovrecipe_: Call
) -> None:
    """Projects may share a store."""
    context = built(project, "one", a=64)
    key = context.plan("one").key("assemble", "a")
    assert key is not None
    set_view(context.store, tmp_path / "elsewhere", "mine", "a", context.store.artifact_dir(key))
    before = stored(project)
    assert ovrecipe_("rm", "one").code == 0
    assert view_target(context.project.models_dir, "one", "a") is None
    assert stored(project) == before


@pytest.mark.parametrize("stage", ["weights", "base"])
def test_nothing_is_removed_while_a_build_works_on_it(
    project: Path, ovrecipe_: Call, stage: str
) -> None:
    """What is made, and what is read to make it."""
    context = built(project, "one", a=64)
    before = stored(project)
    key = context.plan("one").key(stage, "a")
    assert key is not None
    with context.store.lock(key):
        refused = ovrecipe_("rm", "one:a")
    assert refused.code == 9
    assert "a running build works on one:a" in refused.err
    assert stored(project) == before
    assert view_target(context.project.models_dir, "one", "a") is not None


def test_a_build_of_another_variant_is_no_reason_to_wait(project: Path, ovrecipe_: Call) -> None:
    """It reads the base, which stays."""
    context = built(project, "one", a=64, b=32)
    key = context.plan("one").key("weights", "b")
    assert key is not None
    with context.store.lock(key):
        assert ovrecipe_("rm", "one:a").code == 0


def test_rm_of_what_is_not_there(project: Path, ovrecipe_: Call) -> None:
    """Said with the code of what is wrong, and the closest name."""
    context = built(project, "one", a=64)
    assert ovrecipe_("rm", "one").code == 0
    again = ovrecipe_("rm", "one:a")
    assert (again.code, "one:a is not built" in again.err) == (10, True)
    assert ovrecipe_("rm", "on").code == 3
    assert "has no variant 'x'" in ovrecipe_("rm", "one:x").err
    assert stages(context) == []


def test_gc_names_recipe_and_variant(project: Path, ovrecipe_: Call) -> None:
    """A digest says nothing to anybody; what is nobody's is said to be so."""
    built(project, "one", a=64)
    context = built(project, "one", a=32)
    make(context.store, key_of("weights", group_size=1))
    out = ovrecipe_("gc", "--dry-run").out
    assert "artifact  one:a                    weights/" in out
    assert "artifact  of no recipe             weights/" in out
    assert "artifacts would be removed" in out
    lines = ovrecipe_("gc", "--dry-run", "--intermediates").out
    assert "artifact  one                      base/" in lines
    built(project, "two", a=16)
    assert max(map(len, lines.splitlines())) <= 80
