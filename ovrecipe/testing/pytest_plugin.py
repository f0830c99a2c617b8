"""Fixtures for the tests of plugins; pytest finds them once ovrecipe is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.recipe.schema import Recipe


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
