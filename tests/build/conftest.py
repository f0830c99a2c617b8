"""A pipe to an exporter that hangs, and the same recipe on two machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovrecipe.recipe.project import Project, find_project
from tests.build.making import fake_recipe, publish_fakes, write_recipe


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the exporter `hangs` says when it has begun; it ends when all its processes have."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setenv("FAKE_PIPE", str(path))
    return path


@pytest.fixture
def built(project: Project) -> Project:
    """A project with the recipe `m`, whose int4 is built."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    return project


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same recipe on another machine, where nothing is built."""
    root = tmp_path_factory.mktemp("other")
    (root / "recipes").mkdir()
    project = find_project(root, dict(os.environ))
    write_recipe(project, "m", fake_recipe())
    return project
