"""Plugins that break at work: who is named, what is left, what goes on.

What breaks at import, at registration and in a hook, wrong types and double claims are in
test_loading, test_lookup and test_commands.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.cli.chat_command import ChatLoop
from ovrecipe.errors import PluginError, ProviderUnknown
from ovrecipe.hooks.plugins import Plugins
from ovrecipe.hooks.roles import Console
from ovrecipe.run.chain import chosen_filters
from ovrecipe.testing import FakePipeline
from tests.hooks.installed import COMPRESSOR, Site
from tests.run.fakes import recipe as recipe_with
from tests.run.fakes import runner

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe
    from tests.conftest import CommandLine

BROKEN_CLASS = """
class Filter:
    fed = 0
    def feed(self, text):
        self.fed += 1
        return text if self.fed == 1 else self.nothing
    def finish(self): return ""
"""
BROKEN_FUNCTION = """
def Filter(pieces, options):
    for fed, text in enumerate(pieces):
        yield text if fed == 0 else text.nothing
"""
FILTER = "[ovrecipe.output_filter]\nbroken = MODULE:Filter"

BROKEN_FRONTEND = """
class Frontend:
    def show(self, generation, console):
        for segment in generation:
            console.out.write(segment)
            segment.nothing
"""
FRONTEND = "[ovrecipe.frontend]\nbroken = MODULE:Frontend"

#: Longer than anybody would wait.
BLOCKS = "import time; time.sleep(600)\n"


def plugins_of(site: Site) -> Plugins:
    return Plugins(env={}, find=site.find)


@pytest.mark.parametrize("code", [BROKEN_CLASS, BROKEN_FUNCTION])
def test_a_filter_that_raises_mid_stream_ends_the_answer_and_is_named(
    site: Site, code: str
) -> None:
    """What was shown stays shown; the model is free for the next question."""
    site.install("broken", code, points=FILTER)
    filtered = recipe_with(output={"filters": ["broken"]})
    filters = chosen_filters(filtered, plugins_of(site))
    gate = threading.Semaphore(1)
    pipeline = FakePipeline(["one ", "two"], gate=gate)
    with runner(pipeline, recipe=filtered, filters=filters) as model:
        segments = iter(model.stream("count"))
        assert next(segments) == "one "
        gate.release(2)
        blamed = r"'broken' of plugin 'broken' \(ovrecipe-broken 1\.0\) raised AttributeError"
        with pytest.raises(PluginError, match=blamed):
            next(segments)
        assert model.generate("again", max_new_tokens=1).text == "one "


def test_a_frontend_that_raises_mid_stream_is_named_and_the_chat_goes_on(site: Site) -> None:
    """The turn is kept as far as it came, as when the user stops it."""
    site.install("broken", BROKEN_FRONTEND, version="0.2", points=FRONTEND)
    frontend = plugins_of(site).provider("frontend", "broken", recipe_with())
    console = Console(out=io.StringIO(), err=io.StringIO())
    with runner(FakePipeline(["one ", "two"])) as model:
        loop = ChatLoop(model.chat(), frontend, console, interactive=True)
        loop.run(iter(["first", "second"]))
    told = console.err.getvalue()
    blame = "'broken' of plugin 'broken' (ovrecipe-broken 0.2) raised AttributeError"
    assert told.count(blame) == 2
    assert "tell its maintainers, or use another" in told


def test_a_frontend_that_raises_ends_a_piped_chat_with_its_name(site: Site) -> None:
    """A program that reads the answers must not take half of one for a whole."""
    site.install("broken", BROKEN_FRONTEND, points=FRONTEND)
    frontend = plugins_of(site).provider("frontend", "broken", recipe_with())
    console = Console(out=io.StringIO(), err=io.StringIO())
    with runner() as model:
        loop = ChatLoop(model.chat(), frontend, console, interactive=False)
        with pytest.raises(PluginError, match=r"ovrecipe-broken 1\.0\) raised AttributeError"):
            loop.run(iter(["first", "second"]))


def test_a_plugin_that_blocks_its_import_delays_nobody_who_does_not_use_it(
    site: Site, recipe: Recipe
) -> None:
    """Built-in names and names of entry points are known without it."""
    site.install("blocks", BLOCKS + COMPRESSOR)
    site.install_hooks("hooks", BLOCKS + COMPRESSOR)
    site.install("awq")
    plugins = plugins_of(site)
    plugins.provider("compressor", "nncf", recipe)
    plugins.provider("compressor", "awq", recipe)
    assert site.imported == ["awq"]


def test_a_plugin_that_blocks_can_be_skipped(
    ovrecipe: CommandLine, site: Site, tmp_path: Path
) -> None:
    """Whoever asks for all plugins waits, but can say that it shall not count."""
    (tmp_path / "recipes").mkdir()
    site.install_hooks("blocks", BLOCKS + COMPRESSOR)
    done = ovrecipe.process("-p", "no:blocks", "plugins", cwd=tmp_path, env=site.env)
    assert done.code == 0
    assert "blocks" in done.out
    assert site.imported == []


def test_a_plugin_for_a_newer_ovrecipe_is_told_where_it_is_missed(
    site: Site, recipe: Recipe
) -> None:
    """Not only in the list of plugins: the build that names it stops."""
    site.install("awq", requires="ovrecipe>=99")
    with pytest.raises(PluginError, match=r"(?s)plugin 'awq' \(ovrecipe-awq 1\.0\).*>=99"):
        plugins_of(site).provider("compressor", "awq", recipe)
    assert site.imported == []


def test_a_recipe_that_requires_a_plugin_says_how_to_install_it(site: Site) -> None:
    """Only the recipe's author knows which distribution that is, and wrote it there."""
    required = {"plugins": {"ovrecipe-fancy": ">=2"}}
    needs = recipe_with(requires=required, output={"filters": ["fancy"]})
    with pytest.raises(
        ProviderUnknown, match=r"(?s)output filter 'fancy'.*pip install 'ovrecipe-fancy>=2'"
    ):
        chosen_filters(needs, plugins_of(site))
