"""Whether a plugin keeps the contract of the hooks, and the plugins of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.loading import object_source
from ovrecipe.hooks.manager import Plugins
from ovrecipe.hooks.probing import plugin_problems, sample_recipe
from ovrecipe.hooks.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import EntryPoint


def assert_plugin_conforms(plugin: object, *, sections: Mapping[str, Any] | None = None) -> None:
    """Fail, with every reason, unless a plugin keeps the contract.

    Hooks are spelt and marked as specified; `provider_names` lists names that are not built in;
    each listed name is answered with an object that fits its role; other names with None.
    `sections` are the plugin's own sections (`plugins:`) of the recipe it is asked with.
    """
    recipe = sample_recipe(sections)
    plugins = plugins_with(plugin)
    [source] = plugins.named
    loaded = plugins.loaded(source)
    problems = plugin_problems(loaded.hooks, recipe) if loaded.failure is None else [loaded.failure]
    assert not problems, f"{source.name} breaks the contract:\n- " + "\n- ".join(problems)


def plugins_with(*plugins: object) -> Plugins:
    """Return the built-in plugin and these modules or objects, and no installed ones."""
    return Plugins(Selection(), find=_nothing, named=[object_source(each) for each in plugins])


def _nothing(group: str) -> Iterable[EntryPoint]:  # noqa: ARG001 - the signature of a finder
    return ()
