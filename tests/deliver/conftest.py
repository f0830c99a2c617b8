"""A built variant that is no model, to be exported, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.build.run import Target
from ovrecipe.deliver.contents import Contents, contents_of
from ovrecipe.recipe.project import Project
from tests.build.making import context_of, fake_recipe, publish_fakes, write_recipe


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests of exports are remembered."""
    monkeypatch.setenv("OVRECIPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(project: Project) -> Project:
    """A project with the recipe `m`, whose int4 is built."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4", template="{{ messages[0].content }}")
    return project


@pytest.fixture
def contents(built: Project) -> Callable[..., Contents]:
    """What an export of `m:int4` has now."""

    def made(*, ovms: bool = False) -> Contents:
        return contents_of(context_of(built), Target("m", "int4"), ovms=ovms)

    return made


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
