"""A recipe that asks for what is not installed is refused before it means something else."""

from __future__ import annotations

import pytest

from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.conftest import CommandLine


@pytest.mark.parametrize("words", [("build", "m:int4"), ("run", "m:int4", "hello")])
def test_a_missing_distribution_is_named_with_the_command_to_install_it(
    ovrecipe: CommandLine, project: Project, words: tuple[str, ...]
) -> None:
    """The recipe's author knew what it needs."""
    write_recipe(project, "m", fake_recipe(requires={"plugins": {"ovrecipe-absent": ">=2"}}))
    done = ovrecipe("-p", FAKE_PLUGIN, *words, cwd=project.root)
    assert done.code == 3
    assert "pip install 'ovrecipe-absent>=2'" in done.said
    assert not (project.store_dir / "source").exists()
