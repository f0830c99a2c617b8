"""From a hub to an answer: pinned once, built once, rebuilt only when asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovrecipe.recipe.project import Project
from tests.build.making import write_recipe
from tests.conftest import CommandLine
from tests.loopback_hub import LoopbackHub, loopback_hub
from tests.twins import make_checkpoint

pytestmark = [pytest.mark.model, pytest.mark.slow]
NAME = "maker/tiny-llama"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with loopback_hub() as running:
        yield running


def test_a_branch_is_pinned_at_the_first_build(
    ovrecipe: CommandLine, project: Project, hub: LoopbackHub, tmp_path: Path
) -> None:
    """Last month's model can be built again, and a moved branch surprises nobody."""
    checkpoint_dir = make_checkpoint(tmp_path / "checkpoint", "llama")
    files = {path.name: path.read_bytes() for path in checkpoint_dir.iterdir()}
    first = hub.repo(NAME).push(files)
    write_recipe(project, "tiny", {"model": {"id": NAME}, "variants": {"fp16": {}}})
    env = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
    }
    built = ovrecipe.process("build", "tiny", cwd=project.root, env=env)
    assert built.code == 0, built.said
    assert first in (project.root / "ovrecipe.lock").read_text()
    assert ovrecipe("run", "tiny", "hello", "--max-new-tokens", "4", cwd=project.root).out

    second = hub.repo(NAME).push({**files, "generation_config.json": b'{"eos_token_id": 1}'})
    again = ovrecipe.process("build", "tiny", "--json", cwd=project.root, env=env)
    assert json.loads(again.out)["ran"] == []
    updated = ovrecipe.process("build", "tiny", "--update", "--json", cwd=project.root, env=env)
    assert second in (project.root / "ovrecipe.lock").read_text()
    ran = {stage["stage"] for stage in json.loads(updated.out)["ran"]}
    assert {"source tiny", "base tiny", "weights tiny:fp16"} <= ran
    assert len(list((project.store_dir / "source").iterdir())) == 2
