"""`ovrecipe list` and `ovrecipe show`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from ovrecipe.recipe.project import find_project
from ovrecipe.store.store import Store
from ovrecipe.store.views import set_view
from tests.build.making import FAKE_PLUGIN, fake_recipe, publish_fakes

if TYPE_CHECKING:
    from tests.conftest import CommandLine

CHILD = """\
extends: one
variants: {int8: {generation: {top_k: 3}}}
generation: {temperature: 0.5}
"""


def test_list_shows_variants_and_what_is_built(project: Path, ovrecipe: CommandLine) -> None:
    """The first command that a user of a strange project types."""
    done = ovrecipe("list")
    assert done.code == 0
    assert done.out.splitlines() == [
        "one  int8 ·  (int4-npu) ·  org/name",
        "✓ built  ~ stale  ✗ refused  · not built  (built only when named)",
    ]


def test_each_recipe_has_one_line_of_80_columns(
    project: Path, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long id gives way; what is built does not."""
    monkeypatch.setenv("COLUMNS", "80")
    variants = "fp16: {}, int8: {}, int4: {}, int4-npu: {optional: true}"
    for name, model in (("mistral-7b", "mistralai/Mistral-7B-Instruct-v0.2"), ("x", "a/b")):
        text = f"model: {{id: {model}{'-long' * 12}}}\nvariants: {{{variants}}}\n"
        (project / "recipes" / f"{name}.yaml").write_text(text)
    lines = ovrecipe("list").out.splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("mistral-7b  fp16 ·  int8 ·  int4 ·  (int4-npu) ·  mistralai/")


def test_what_is_built_is_never_cut(
    project: Path, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow terminal shows it below the name, and a pipe has room for all of it."""
    variants = ", ".join(f"int4-{number}: {{}}" for number in range(6))
    for name in ("a" * 30, "x"):
        text = f"model: {{id: org/{'m' * 40}}}\nvariants: {{{variants}}}\n"
        (project / "recipes" / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("COLUMNS", "50")
    lines = ovrecipe("list").out.splitlines()
    assert max(map(len, lines)) <= 50
    assert lines[0] == "a" * 30
    assert "  ".join(" ".join(lines[1:3]).split()).count("int4-") == 6
    monkeypatch.delenv("COLUMNS")
    first = ovrecipe("list").out.splitlines()[0]
    assert first.startswith("a" * 30 + "  int4-0 ·")
    assert first.endswith("m" * 40)


def test_a_terminal_without_unicode_gets_other_marks(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that cannot encode the marks must not end in an error."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "ovrecipe", "list"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "int8 -  (int4-npu) -  org/name" in done.stdout


def viewed(project: Path, recipe: str) -> None:
    """Let the view of int8 lead to an artifact that nobody asks for."""
    (project / "store" / "x").mkdir(parents=True)
    set_view(Store(project / "store"), project / "models", recipe, "int8", project / "store" / "x")


def made_recipe(project: Path, group_size: int) -> None:
    """Write a recipe whose stages take no time."""
    document = {**fake_recipe(), "variants": {"int4": {"compressor": "fake"}}}
    document["variants"]["int4"]["group_size"] = group_size
    (project / "recipes" / "one.yaml").write_text(yaml.safe_dump(document))


def test_what_was_built_from_other_settings_is_stale(project: Path, ovrecipe: CommandLine) -> None:
    """It is there and can be run, but it is not what the recipe says."""
    made_recipe(project, group_size=64)
    publish_fakes(find_project(project, {}), "one", "int4")
    list_ = partial(ovrecipe, "-p", FAKE_PLUGIN, "list")
    assert "int4 ✓" in list_().out
    made_recipe(project, group_size=32)
    assert "int4 ~" in list_().out
    [one] = json.loads(list_("--json").out)["recipes"]
    assert (one["variants"][0]["built"], one["variants"][0]["stale"]) == (False, True)
    made_recipe(project, group_size=64)
    assert "int4 ✓" in list_().out


@pytest.mark.parametrize("model_id", ["org/name", "./gone", "nobody:knows", "made:bug"])
def test_a_source_that_cannot_be_asked_breaks_no_list(
    project: Path, ovrecipe: CommandLine, model_id: str
) -> None:
    """Whether the artifact is the wanted one cannot be known then, so nobody vouches for it."""
    text = f"model: {{id: '{model_id}'}}\nvariants: {{int8: {{}}}}\n"
    (project / "recipes" / "two.yaml").write_text(text)
    viewed(project, "two")
    done = ovrecipe("-p", FAKE_PLUGIN, "list")
    assert done.code == 0
    assert "int8 ~" in done.out


def test_a_broken_recipe_is_listed_and_hides_no_other(project: Path, ovrecipe: CommandLine) -> None:
    """One slip must not take the whole list away."""
    (project / "recipes" / "bad.yaml").write_text("model: {id: 1}\nvariants: {int8: {}}\n")
    done = ovrecipe("list")
    assert done.code == 3
    assert "org/name" in done.out
    assert "recipes/bad.yaml:1:13: model.id: must be text" in done.err


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "recipes/odd.yaml: is a folder"),
        (os.mkfifo, "recipes/odd.yaml: is a device or pipe"),
        (lambda path: path.symlink_to("gone"), "recipes/odd.yaml: a link to gone, which is not"),
    ],
)
def test_what_is_no_file_is_named_as_broken(
    project: Path, ovrecipe: CommandLine, make: Callable[[Path], None], reason: str
) -> None:
    """Whoever made it misses it in the list; a pipe is not waited for."""
    make(project / "recipes" / "odd.yaml")
    done = ovrecipe("list")
    assert done.code == 3
    assert reason in done.err
    assert "odd  broken, see below" in done.out


def test_sizes_and_list_agree_on_what_is_stale(project: Path, ovrecipe: CommandLine) -> None:
    """One says stale where the other does."""
    made_recipe(project, group_size=64)
    publish_fakes(find_project(project, {}), "one", "int4")
    sizes = partial(ovrecipe, "-p", FAKE_PLUGIN, "sizes", "one")
    [row] = json.loads(sizes("--json").out)["variants"]
    assert (row["built"], row["stale"]) == (True, False)
    made_recipe(project, group_size=32)
    refused = sizes()
    assert refused.code == 10
    assert "no variant of one is built from its settings of now (stale: int4)" in refused.err
    assert "int4 ~" in ovrecipe("-p", FAKE_PLUGIN, "list").out


def test_names_and_sizes_are_whole_at_60_columns(
    project: Path, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headings are folded or cut; names and figures are not."""
    monkeypatch.setenv("COLUMNS", "60")
    document = {**fake_recipe(), "variants": {"int4-npu": {"compressor": "fake"}}}
    (project / "recipes" / "smollm2-135m.yaml").write_text(yaml.safe_dump(document))
    publish_fakes(find_project(project, {}), "smollm2-135m", "int4-npu")
    out = ovrecipe("-p", FAKE_PLUGIN, "sizes", "smollm2-135m").out
    [row] = [line for line in out.splitlines() if "smollm2-135m:int4-npu" in line]
    assert row.split()[:2] == ["smollm2-135m:int4-npu", "0.00"]
    assert max(map(len, out.splitlines())) <= 60


def test_list_as_json(project: Path, ovrecipe: CommandLine) -> None:
    """Programs read one document, broken recipes included."""
    (project / "recipes" / "bad.yaml").write_text("[")
    done = ovrecipe("list", "--json")
    bad, one = json.loads(done.out)["recipes"]
    assert done.code == 3
    assert bad["name"] == "bad"
    assert "recipes/bad.yaml:2:1: " in bad["error"]
    missing = {"built": False, "stale": False, "refused": False}
    assert one["variants"] == [
        {"name": "int8", "precision": "int8", "optional": False, **missing},
        {"name": "int4-npu", "precision": "int4", "optional": True, **missing},
    ]


def test_a_project_without_recipes_says_what_to_do(project: Path, ovrecipe: CommandLine) -> None:
    """An empty table would help nobody."""
    (project / "recipes" / "one.yaml").unlink()
    assert "ovrecipe new MODEL_ID" in ovrecipe("list").out


def test_show_says_where_each_value_comes_from(project: Path, ovrecipe: CommandLine) -> None:
    """With extends and defaults, a value may come from three places."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    out = ovrecipe("show", "child").out
    origins = {line.split(":")[0].strip(): line.split("# ")[-1] for line in out.splitlines()}
    assert origins["id"] == "recipes/one.yaml:1"
    assert origins["temperature"] == "recipes/child.yaml:3"
    assert origins["exporter"] == "default"
    assert origins["precision"] == "from the variant's name"


def test_what_show_prints_is_a_recipe_of_the_same_meaning(
    project: Path, ovrecipe: CommandLine
) -> None:
    """The output can be saved as a recipe of its own."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    (project / "recipes" / "copy.yaml").write_text(
        ovrecipe("show", "child").out.replace("extends:", "# extends:")
    )
    child = json.loads(ovrecipe("show", "child", "--json").out)
    copy = json.loads(ovrecipe("show", "copy", "--json").out)
    assert copy | {"name": "child", "extends": "one"} == child
    assert yaml.safe_load(ovrecipe("show", "child").out)["variants"]["int8"]["precision"] == "int8"


def test_show_of_a_variant_has_its_effective_generation(
    project: Path, ovrecipe: CommandLine
) -> None:
    """What the variant really gets, overrides applied."""
    (project / "recipes" / "child.yaml").write_text(CHILD)
    shown = json.loads(ovrecipe("show", "child:int8", "--json").out)
    assert list(shown["variants"]) == ["int8"]
    assert shown["generation"]["top_k"] == 3
    assert shown["generation"]["temperature"] == 0.5
    generation = ovrecipe("show", "child:int8").out.split("\ngeneration:")[1]
    assert "top_k: 3" in generation
    assert "recipes/child.yaml:2" in generation


def test_show_of_what_is_not_there(project: Path, ovrecipe: CommandLine) -> None:
    """Exit code 3, the closest name, no traceback."""
    done = ovrecipe("show", "one:int9")
    assert done.code == 3
    assert done.err == (
        "ovrecipe: recipe 'one' has no variant 'int9'; perhaps you meant 'one:int8'\n"
        "  it has: int8, int4-npu\n"
    )
    assert ovrecipe("show", "../one").code == 3
    assert "is no recipe name" in ovrecipe("show", "a/b").err
