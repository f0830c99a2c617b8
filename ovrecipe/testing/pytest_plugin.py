"""Fixtures for the tests of plugins; pytest finds them once ovrecipe is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe import testing

if TYPE_CHECKING:
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.roles import Frontend
    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.run.runner import Chat


@pytest.fixture
def ovrecipe_recipe() -> Recipe:
    """The smallest recipe, for hooks that want one."""
    from ovrecipe.hooks.listing import sample_recipe

    return sample_recipe()


@pytest.fixture
def ovrecipe_plugins() -> Callable[..., Plugins]:
    """Return built-in plugins and those given: `ovrecipe_plugins(my_module).provider(...)`."""
    return testing.plugins_with


@pytest.fixture
def assert_plugin_conforms() -> Callable[..., None]:
    """Fail unless a plugin's module keeps the contract of the hooks."""
    return testing.assert_plugin_conforms


@pytest.fixture
def assert_chunk_invariant() -> Callable[..., None]:
    """Fail unless a filter shows the same however the text is cut; needs hypothesis."""
    return testing.assert_chunk_invariant


@pytest.fixture
def ovrecipe_shown() -> Callable[..., testing.Shown]:
    """Return what a frontend writes: `ovrecipe_shown(frontend, ["one ", "two"]).out`."""

    def shown(frontend: Frontend, pieces: Sequence[str]) -> testing.Shown:
        chat = testing.fake_chat(testing.FakePipeline(pieces))
        return testing.shown(frontend, chat.stream("What is it?"))

    return shown


@pytest.fixture
def ovrecipe_fake_chat() -> Callable[..., Chat]:
    """Begin a conversation without a model: `ovrecipe_fake_chat(pipeline).stream("hello")`."""
    return testing.fake_chat


@pytest.fixture(scope="session")
def smollm2_project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project with smollm2-135m built as fp16, int8 and int4: the real model, without a hub.

    The store lies in pytest's cache, or where OVRECIPE_TEST_STORE says, so that sessions share it.
    When a stage fails, `build.log` in the project says how far it came.
    """
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.events import Lines
    from ovrecipe.build.run import Target, try_to_build
    from ovrecipe.recipe.project import bundled_recipes_dir, find_project

    shared = os.environ.get("OVRECIPE_TEST_STORE")
    store_dir = Path(shared) if shared else request.config.cache.mkdir("ovrecipe-store")
    root, name = tmp_path_factory.mktemp("smollm2"), "smollm2-135m"
    (root / "recipes").mkdir()
    shutil.copy(bundled_recipes_dir() / f"{name}.yaml", root / "recipes")
    project = find_project(root, {**os.environ, "OVRECIPE_STORE": str(store_dir)})
    targets = [Target(name, variant) for variant in ("fp16", "int8", "int4")]
    with (root / "build.log").open("w", encoding="utf-8") as log:
        try_to_build(BuildContext(project), targets, watch=Lines(log)).check_success()
    return project
