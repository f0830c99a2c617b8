"""Fixtures that several parts share: projects in temporary folders, the real model built once."""

from __future__ import annotations

import os
import shutil
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
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project of the test's own."""
    (tmp_path / "recipes").mkdir()
    return find_project(tmp_path, dict(os.environ))


@pytest.fixture(scope="session")
def smollm2_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with smollm2-135m built as fp16, int8 and int4; the real route, run once."""
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.observer import LineObserver
    from ovrecipe.build.run import Target, build

    root = tmp_path_factory.mktemp("smollm2")
    (root / "recipes").mkdir()
    shutil.copy(REPOSITORY / "recipes" / "smollm2-135m.yaml", root / "recipes")
    project = find_project(root, dict(os.environ))
    targets = [Target("smollm2-135m", each) for each in ("fp16", "int8", "int4")]
    with (root / "build.log").open("w") as log:
        build(BuildContext(project), targets, observer=LineObserver(log), jobs=2)
    return project
