"""The plugin as ovrecipe sees it."""

from __future__ import annotations

import io
import subprocess
import sys

import ovrecipe_tui
import pytest
from ovrecipe_tui.frontend import TuiFrontend

from ovrecipe.errors import PluginError
from ovrecipe.hooks.roles import ChatFrontend, Console
from ovrecipe.testing import assert_imports_public_names, fake_chat, shown


def test_the_plugin_keeps_the_contract(assert_plugin_conforms):
    assert_plugin_conforms("ovrecipe-tui")


def test_it_holds_the_whole_conversation(ovrecipe_plugins, ovrecipe_recipe):
    """`ovrecipe chat` asks for that."""
    plugins = ovrecipe_plugins(frontend={"tui": TuiFrontend})
    found = plugins.provider("frontend", "tui", ovrecipe_recipe)
    assert isinstance(found.provider, ChatFrontend)


def test_one_answer_is_written_as_it_comes(ovrecipe_shown):
    """`ovrecipe run` is no conversation."""
    assert ovrecipe_shown(TuiFrontend(), ["one ", "two"]).out == "one two\n"


def test_one_answer_is_remarked_on_as_on_the_console(ovrecipe_plugins, ovrecipe_recipe):
    """That it was cut, whatever shows it, and `--stats` with the seed that gives it again."""
    console = ovrecipe_plugins().provider("frontend", "console", ovrecipe_recipe).provider

    def remarks(frontend, *, stats):
        answer = fake_chat().stream("a", max_new_tokens=2, temperature=0.5, rng_seed=7)
        return shown(frontend, answer, stats=stats).err

    cut = "[cut after 2 tokens; --max-new-tokens N for more]\n"
    assert remarks(TuiFrontend(), stats=False) == remarks(console, stats=False) == cut
    [_, figures] = remarks(TuiFrontend(), stats=True).splitlines()
    for figure in ("2 tokens", "20 ms", "142.0 tokens/s", "seed 7", "on FAKE"):
        assert figure in figures
        assert figure in remarks(console, stats=True)


def test_without_a_terminal_it_says_what_to_do_instead():
    """A screen drawn into a pipe helps nobody."""
    console = Console(out=io.StringIO(), err=io.StringIO())
    with pytest.raises(PluginError, match=r"needs a terminal.*\n.*leave out --frontend tui"):
        TuiFrontend().chat(fake_chat(), console)


def test_asking_for_the_frontend_does_not_import_textual():
    """`ovrecipe plugins` asks every plugin."""
    asked = "import sys, ovrecipe_tui.frontend as plugin; plugin.TuiFrontend()"
    code = f"{asked}; print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_only_public_names_of_ovrecipe_are_imported():
    """Others may change with any release."""
    assert_imports_public_names(ovrecipe_tui)
