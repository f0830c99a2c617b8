"""Stages on the machines of a cluster: which run there, and what of a machine that is lost."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.build.events import Lines
from ovrecipe.build.execute import MOST_LOST
from ovrecipe.build.process import Seen, run_here
from ovrecipe.cli.cluster import build_on
from ovrecipe.errors import NodeLost
from ovrecipe.hooks.roles import RemoteStage, StageEnded
from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN, context_of, fake_recipe, work_on, write_recipe
from tests.conftest import CommandLine

pytestmark = pytest.mark.slow


class OwnMachine:
    """A cluster of this machine, which is lost as often as it is told."""

    count = 2
    memory_bytes = 10**12

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.stages: list[RemoteStage] = []
        self.checked: list[Path] = []

    def open_engine(self, job: Any) -> Any:
        """Open none."""
        raise NotImplementedError

    def check_store(self, store_dir: Path) -> None:
        """See it."""
        self.checked.append(store_dir)

    def run_stage(self, stage: RemoteStage, hear: Callable[[dict[str, Any]], None]) -> StageEnded:
        """Run the process here, or lose it when it has begun to write."""
        self.stages.append(stage)
        if len(self.stages) <= self.losses:
            (stage.log_path.parent / "output" / "half").write_text("")
            raise NodeLost(f"{stage.title}: its node is gone")
        seen, command = Seen(), [sys.executable, *stage.words]
        code = run_here(
            command, stage.env, stage.log_path, hear, stage.cancelled, seen, lambda _: None
        )
        return StageEnded(code, seen.peak_bytes, seen.available_bytes, killed_for_memory=False)


def built_on(nodes: OwnMachine, project: Project, **changes: Any) -> tuple[str, Path]:
    """Run the source and the base, and return what was said and the base's folder."""
    write_recipe(project, "m", fake_recipe(**changes))
    context, said = context_of(project), io.StringIO()
    build_on(nodes, context, jobs=4)
    for stage in ("source", "base"):
        work_on(context, "m", stage).do(Lines(said))
    key = work_on(context, "m", "base").key()
    assert key is not None
    return said.getvalue(), context.store.artifact_dir(key)


def test_a_stage_whose_machine_is_lost_is_made_again_in_a_new_folder(project: Project) -> None:
    """What the lost one wrote, or writes still, is in no artifact."""
    nodes = OwnMachine(losses=1)
    said, base_dir = built_on(nodes, project)
    assert "   source m: its node is gone; it is made again\n" in said
    assert (base_dir / "openvino_model.xml").exists()
    assert not (base_dir / "half").exists()
    titles = [stage.title for stage in nodes.stages]
    assert titles == ["source m", "source m", "base m"]
    assert nodes.stages[0].log_path != nodes.stages[1].log_path
    assert nodes.checked == [project.store_dir]


def test_a_stage_that_loses_every_machine_has_failed(project: Project) -> None:
    """It may be the stage that ends them."""
    nodes = OwnMachine(losses=9)
    with pytest.raises(NodeLost, match="source m: its node is gone"):
        built_on(nodes, project)
    assert len(nodes.stages) == MOST_LOST


def test_without_the_plugin_the_option_says_how_to_get_it(
    ovrecipe: CommandLine, project: Project
) -> None:
    """`--ray` is an option of ours; Ray comes with ovrecipe-ray."""
    write_recipe(project, "m", fake_recipe())
    env = {"OVRECIPE_PROJECT": str(project.root), "OVRECIPE_DISABLED_PLUGINS": "ovrecipe-ray"}
    recipe = ["-p", FAKE_PLUGIN]
    for words in (["build", "m:int4"], ["batch", "m:int4", os.devnull]):
        done = ovrecipe(*recipe, *words, "--ray", "auto", env=env)
        assert (done.code, done.out) == (4, "")
        assert "no plugin provides the cluster 'ray'" in done.said
