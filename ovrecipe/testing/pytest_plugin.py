"""Fixtures for the tests of plugins; pytest finds them once ovrecipe is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.testing.frontends import Shown
    from ovrecipe.testing.pipeline import FakePipeline


@pytest.fixture
def ovrecipe_recipe() -> Recipe:
    """The smallest recipe, for hooks that want one."""
    from ovrecipe.hooks.probing import sample_recipe

    return sample_recipe()


@pytest.fixture
def ovrecipe_plugins() -> Callable[..., Plugins]:
    """Return built-in plugins and those given: `ovrecipe_plugins(my_module).provider(...)`."""
    from ovrecipe.testing.plugins import plugins_with

    return plugins_with


@pytest.fixture
def assert_plugin_conforms() -> Callable[..., None]:
    """Fail unless a plugin's module keeps the contract of the hooks."""
    from ovrecipe.testing.plugins import assert_plugin_conforms

    return assert_plugin_conforms


@pytest.fixture
def assert_chunk_invariant() -> Callable[..., None]:
    """Fail unless a filter shows the same however the text is cut; needs hypothesis."""
    from ovrecipe.testing.filters import assert_chunk_invariant

    return assert_chunk_invariant


@pytest.fixture
def ovrecipe_shown() -> Callable[..., Shown]:
    """Return what a frontend writes: `ovrecipe_shown(frontend, ["one ", "two"]).out`."""
    from ovrecipe.testing.frontends import FakeGeneration, shown

    return lambda frontend, segments: shown(frontend, FakeGeneration(segments))


@pytest.fixture
def ovrecipe_fake_pipeline() -> Callable[..., FakePipeline]:
    """Make a pipeline without a model, which says the pieces that it is given."""
    from ovrecipe.testing.pipeline import FakePipeline

    return FakePipeline
