"""Where the folders of a project are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.errors import ProjectError
from ovrecipe.recipe.project import find_project


def test_a_project_is_found_upwards(tmp_path: Path) -> None:
    """Commands work from any folder of it, as git's do."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    project = find_project(below, {})
    assert (project.root, project.store_dir) == (tmp_path, tmp_path / "store")
    assert (project.models_dir, project.lock_path) == (
        tmp_path / "models",
        tmp_path / "ovrecipe.lock",
    )


def test_the_store_and_the_models_may_lie_elsewhere(tmp_path: Path) -> None:
    """A large disk is seldom the one with the recipes."""
    (tmp_path / "recipes").mkdir()
    env = {"OVRECIPE_STORE": str(tmp_path / "disk" / "store"), "OVRECIPE_MODELS": "named"}
    project = find_project(tmp_path, env)
    assert project.store_dir == tmp_path / "disk" / "store"
    assert project.models_dir == tmp_path / "named"


def test_a_named_project_is_taken_or_refused_as_it_is(tmp_path: Path) -> None:
    """--project with a wrong folder must not fall back to another project silently."""
    (tmp_path / "mine" / "recipes").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    named = {"OVRECIPE_PROJECT": str(tmp_path / "mine")}
    assert find_project(tmp_path, named).root == tmp_path / "mine"
    with pytest.raises(ProjectError, match="has no recipes folder"):
        find_project(tmp_path, {"OVRECIPE_PROJECT": str(tmp_path / "other")})


def test_without_a_project_the_user_learns_how_to_make_one(tmp_path: Path) -> None:
    """`ovrecipe init` is the remedy."""
    with pytest.raises(ProjectError, match=r"(?s)no recipes folder in .* or above it.*init DIR"):
        find_project(tmp_path, {})
