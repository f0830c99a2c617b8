"""Fixtures that several parts share; the real model is a fixture of ovrecipe.testing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovrecipe.recipe.project import Project, find_project

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the network or the home directory."""
    kept = dict(os.environ)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf-home"))
    for name in [each for each in os.environ if each.startswith("OVRECIPE_")]:
        if name != "OVRECIPE_TEST_STORE":
            del os.environ[name]
    os.environ["OVRECIPE_CONFIG"] = os.devnull
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project of the test's own."""
    (tmp_path / "recipes").mkdir()
    return find_project(tmp_path, dict(os.environ))
