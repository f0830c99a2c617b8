"""Which installed plugins may be loaded."""

from __future__ import annotations

import pytest

from ovrecipe.errors import PluginError
from ovrecipe.hooks.plugins import load_plugins
from tests.hooks.installed import Site


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
    """Both are on the user's screen, so both are what they type."""
    for name in ("awq", "red-act", "web"):
        site.install(name)
    plugins = load_plugins(env=env, options=options, find=site.find)
    assert [source.name for source in plugins.enabled("compressor")] == left
    assert site.imported == []


def test_what_is_built_in_cannot_be_skipped() -> None:
    """Nothing works without it."""
    with pytest.raises(PluginError, match="what is built in cannot be skipped"):
        load_plugins(env={}, options=["no:builtin"])


def test_a_distribution_is_skipped_with_all_that_it_announces(site: Site) -> None:
    """Its command would fail without its frontend."""
    points = "[ovrecipe.frontend]\nweb = MODULE:F\n[ovrecipe.command]\nserve = MODULE:command"
    site.install("web", points=points)
    for option in ("no:web", "no:serve", "no:ovrecipe-web"):
        plugins = load_plugins(env={}, options=[option], find=site.find)
        assert plugins.enabled("command") == plugins.enabled("frontend") == []
    assert load_plugins(env={}, find=site.find).names("command") == ["serve"]


def test_of_two_distributions_with_one_name_one_can_be_skipped(site: Site) -> None:
    """The remedy of a double claim must leave somebody to do the work."""
    site.install("one", points="[ovrecipe.compressor]\nsame = MODULE:Compressor")
    site.install("two", points="[ovrecipe.compressor]\nsame = MODULE:Compressor")
    plugins = load_plugins(env={}, options=["no:ovrecipe-two"], find=site.find)
    [left] = plugins.claims("compressor", "same")
    assert left.distribution == "ovrecipe-one"
