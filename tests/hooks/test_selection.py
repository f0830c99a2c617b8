"""Which installed plugins may be loaded."""

from __future__ import annotations

import pytest

from ovrecipe.errors import PluginError
from ovrecipe.hooks.manager import load_plugins
from tests.hooks.installed import Site, compressor_code


@pytest.mark.parametrize(
    ("env", "options", "left"),
    [
        ({}, (), ["awq", "red-act", "web"]),
        ({"OVRECIPE_DISABLED_PLUGINS": "awq, web"}, (), ["red-act"]),
        ({"OVRECIPE_DISABLED_PLUGINS": "ovrecipe_awq"}, (), ["red-act", "web"]),
        ({"OVRECIPE_DISABLED_PLUGINS": "Red_Act"}, (), ["awq", "web"]),
        ({"OVRECIPE_DISABLED_PLUGINS": "*"}, (), []),
        ({"OVRECIPE_DISABLED_PLUGINS": "all"}, (), []),
        ({"OVRECIPE_LOAD_PLUGINS": "web"}, (), ["web"]),
        ({"OVRECIPE_LOAD_PLUGINS": "web,awq", "OVRECIPE_DISABLED_PLUGINS": "awq"}, (), ["web"]),
        ({}, ("no:web",), ["awq", "red-act"]),
        ({}, ("no:*",), []),
    ],
)
def test_names_of_plugins_and_of_distributions_select(
    site: Site, env: dict[str, str], options: tuple[str, ...], left: list[str]
) -> None:
    for name in ("awq", "red-act", "web"):
        site.install(name, compressor_code(name))
    plugins = load_plugins(env=env, options=options, find=site.find)
    assert [each.name for each in plugins.enabled[1:]] == left
    assert site.imported == []


def test_the_built_in_plugin_cannot_be_skipped() -> None:
    with pytest.raises(PluginError, match="built-in plugin cannot be skipped"):
        load_plugins(env={}, options=["no:builtin"])


def test_a_disabled_plugin_takes_its_commands_with_it(site: Site) -> None:
    points = "[ovrecipe]\nweb = MODULE\n[ovrecipe.commands]\nserve = MODULE:command"
    site.install("web", compressor_code("web"), entry_points=points)
    assert [each.name for each in load_plugins(env={}, find=site.find).commands] == ["serve"]
    assert load_plugins(env={}, options=["no:web"], find=site.find).commands == ()
