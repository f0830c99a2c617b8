"""`verify --rebuild`: the same bytes come out again, or every file that differs is named."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.rebuild import Difference, rebuilt
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.errors import NotBuilt
from ovrecipe.recipe.project import find_project
from tests.build import test_new_stage
from tests.build.fake_plugin import net
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project
    from tests.conftest import CommandLine

pytestmark = pytest.mark.slow

#: Writes other bytes each time, in a file of its own too.
DICE = """
import os
from ovrecipe import hookimpl

class Dice:
    def compress(self, job):
        (job.output_dir / "openvino_model.xml").write_text(XML)
        (job.output_dir / "openvino_model.bin").write_bytes(os.urandom(16))
        (job.output_dir / f"thrown-{os.urandom(4).hex()}").touch()

@hookimpl
def providers():
    return {"compressor": {"dice": Dice}}
"""
VARIANTS = {"int4": {"compressor": "fake", "group_size": 64}, "int4-dice": {"compressor": "dice"}}


def fresh(project: Project) -> BuildContext:
    """Return what a command works with: a route that needs no model and has no gate."""
    plugins = FAKE_PLUGIN, str(project.root / "dice.py")
    found = find_project(project.root, dict(os.environ))
    return BuildContext(found, plugin_options=plugins, stages=test_new_stage.STAGES[:-1])


def built(project: Project, *variants: str) -> list[Target]:
    """Build variants and return them as targets."""
    (project.root / "dice.py").write_text(DICE.replace("XML", repr(net("int4", 64))))
    write_recipe(project, "m", fake_recipe(variants=VARIANTS))
    targets = [Target("m", variant) for variant in variants]
    try_to_build(fresh(project), targets, watch=lambda _: None).check_success()
    return targets


def silent(_: object) -> None: ...


def test_what_is_made_alike_is_equal(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the checkpoint is made again, and nothing of it is left."""
    calls = project.root / "calls"
    monkeypatch.setenv("FAKE_CALLS", str(calls))
    targets = built(project, "int4")
    assert rebuilt(fresh(project), targets, silent) == (8, [], [])
    assert calls.read_text().splitlines() == ["base", "weights 64"] * 2
    assert not list(project.store_dir.glob(".stage-*"))
    assert (project.models_dir / "m" / "int4").resolve().parent.parent == project.store_dir


def test_every_file_that_differs_is_named(project: Project) -> None:
    """In the stage that made it, and in those that link it."""
    found = rebuilt(fresh(project), built(project, "int4-dice"), silent).differences
    [bin_file, *thrown] = [one for one in found if one.stage == "weights m:int4-dice"]
    assert bin_file == Difference("weights m:int4-dice", "openvino_model.bin", "other bytes")
    assert sorted(one.message for one in thrown) == ["was not made again", "was not there before"]
    assert {one.stage for one in found} == {"weights m:int4-dice", "assemble m:int4-dice"}


def test_what_was_collected_cannot_be_compared_and_is_said(project: Project) -> None:
    """`gc --intermediates` leaves what runs."""
    targets = built(project, "int4")
    shutil.rmtree(project.store_dir / "base")
    shutil.rmtree(project.store_dir / "source")
    assert rebuilt(fresh(project), targets, silent) == (5, [], ["base m"])


def test_what_is_not_built_is_refused(project: Project) -> None:
    built(project, "int4")
    with pytest.raises(NotBuilt, match="m:int4-dice is not built from its recipe of now"):
        rebuilt(fresh(project), [Target("m", "int4-dice")], silent)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rebuild",), "--rebuild builds variants, so it needs a NAME"),
        (("--rebuild", "--remove", "m"), "--rebuild removes nothing"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(
    project: Project, ovrecipe: CommandLine, words: tuple[str, ...], said: str
) -> None:
    done = ovrecipe("verify", *words, cwd=project.root)
    assert done.code == 2
    assert said in done.said


@pytest.mark.model
def test_the_command_says_that_a_whole_route_comes_out_the_same(
    twin_project: Project, ovrecipe: CommandLine
) -> None:
    """Every file, the tokenizer's included; the exit code says it too."""
    env = {"OVRECIPE_STORE": str(twin_project.store_dir)}
    write_recipe(
        twin_project,
        "twin",
        {"model": {"id": "./checkpoint"}, "variants": {"int4": {"group_size": 32}}},
    )
    assert ovrecipe("build", "twin", cwd=twin_project.root, env=env).code == 0
    done = ovrecipe("verify", "--rebuild", "twin:int4", cwd=twin_project.root, env=env)
    assert done.code == 0
    assert done.out.endswith(" files built again, all equal\n")
