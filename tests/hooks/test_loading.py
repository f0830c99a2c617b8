"""A plugin that does not load is listed with its reason and breaks nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import PluginError
from ovrecipe.hooks.loading import LoadedPlugin, installed_sources, load_one, named_source
from ovrecipe.hooks.manager import load_plugins
from tests.hooks.installed import Site, compressor_code

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.recipe.schema import Recipe

HEAD = "from ovrecipe import hookimpl\n@hookimpl\n"


def loaded(site: Site, code: str, **how: str) -> LoadedPlugin:
    site.install("odd", code, **how)
    [source] = installed_sources(site.find)
    return load_one(source, ovrecipe_version="0.1.0")


RAISES = [
    ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ("import sys; sys.exit('bye')", "SystemExit: bye"),
    ("this is no Python", "SyntaxError: invalid syntax .*"),
]
BREAKS_THE_RULES = [
    ("x = 1", "implements no hook; mark functions with @ovrecipe.hookimpl"),
    (
        HEAD + "def get_compresor(name): ...",
        "there is no hook 'get_compresor'; perhaps you meant 'get_compressor', or .*",
    ),
    (
        HEAD + "def get_frontend(name, receipt): ...",
        "get_frontend: unknown argument 'receipt'; the hook has name, recipe",
    ),
    (HEAD + "def get_frontend(name='x'): ...", "get_frontend: argument 'name' has a default; .*"),
    (
        HEAD + "def get_source(name): ...\ndef get_frontend(name): ...",
        "get_frontend: lacks the marker @ovrecipe.hookimpl, so it is never called",
    ),
    (
        HEAD.replace("@hookimpl", "@hookimpl(wrapper=True)") + "def get_frontend(name): yield",
        "get_frontend: is a wrapper; .*",
    ),
]
BREAKS_THE_NAMES = [
    (
        HEAD + "def provider_names(role): return 'abc'",
        "provider_names: returned str; it returns a list of names",
    ),
    (HEAD + "def provider_names(role): return [1]", "provider_names: 1 is no name"),
    (HEAD + "def provider_names(role): return {}[role]", "provider_names: KeyError: 'source'"),
]


@pytest.mark.parametrize(("code", "reason"), [*RAISES, *BREAKS_THE_RULES, *BREAKS_THE_NAMES])
def test_what_is_wrong_is_said_in_one_line(site: Site, code: str, reason: str) -> None:
    """Pluggy would let some of these pass in silence and others escape without a name."""
    site.install("odd", code)
    plugins = load_plugins(env={}, find=site.find)
    [source] = plugins.installed
    found = plugins.loaded(source)
    assert re.fullmatch(reason, found.failure or "")
    assert found.hooks == {}


def test_a_traceback_is_kept_for_the_author(site: Site) -> None:
    found = loaded(site, "def f():\n    raise ValueError('deep')\nf()")
    assert found.details is not None
    assert "in f" in found.details


def test_ctrl_c_at_import_ends_the_command(site: Site) -> None:
    """A user who interrupts a slow import means the command, not the plugin."""
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        loaded(site, "raise KeyboardInterrupt")


def test_a_plugin_for_a_newer_ovrecipe_is_not_even_imported(site: Site) -> None:
    found = loaded(site, compressor_code("odd"), requires="ovrecipe>=99")
    assert found.failure == "needs ovrecipe>=99, and this is ovrecipe 0.1.0"
    assert site.imported == []


@pytest.mark.parametrize(
    "requires",
    ["ovrecipe>=0.1", "ovrecipe-core>=99", "ovrecipe>=99; extra == 'new'", "Ovrecipe <1"],
)
def test_other_requirements_are_pips_to_judge(site: Site, requires: str) -> None:
    assert loaded(site, compressor_code("odd"), requires=requires).failure is None


def test_a_missing_library_of_the_build_extra_says_how_to_install_it(site: Site) -> None:
    code = "raise ModuleNotFoundError('No module named nncf', name='nncf.torch')"
    remedy = loaded(site, code).remedy
    assert remedy == "install ovrecipe[build], or skip it with -p no:odd"


def test_a_hook_of_a_later_ovrecipe_may_be_marked_optional(site: Site) -> None:
    code = compressor_code("odd") + "\n@hookimpl(optionalhook=True)\ndef get_later(name): ...\n"
    found = loaded(site, code)
    assert found.failure is None
    assert set(found.hooks) == {"provider_names", "get_compressor"}


def test_an_object_can_be_a_plugin_and_a_class_cannot(site: Site) -> None:
    code = (
        "from ovrecipe import hookimpl\nclass P:\n    @hookimpl\n"
        "    def provider_names(self, role): return []\nplugin = P()\n"
    )
    site.install("object", code, entry_points="[ovrecipe]\nobject = MODULE:plugin")
    site.install("type", code, entry_points="[ovrecipe]\ntype = MODULE:P")
    first, second = (
        load_one(each, ovrecipe_version="0.1.0") for each in installed_sources(site.find)
    )
    assert first.failure is None
    assert second.failure == "P is a class; the entry point must name an instance"


def test_the_import_is_timed_with_the_clock_that_is_given(site: Site) -> None:
    site.install("odd", compressor_code("odd"))
    ticks = iter([10.0, 12.5])
    [source] = installed_sources(site.find)
    found = load_one(source, ovrecipe_version="0.1.0", clock=lambda: next(ticks))
    assert found.seconds == 2.5


def test_plugins_are_in_the_order_of_their_names(site: Site) -> None:
    """The order of directories differs between machines."""
    for name in ("zeta", "alpha", "middle"):
        site.install(name, compressor_code(name))
    names = [each.name for each in installed_sources(site.find)]
    assert names == ["alpha", "middle", "zeta"]


def test_a_file_named_with_p_is_loaded(tmp_path: Path, recipe: Recipe) -> None:
    path = tmp_path / "mine.py"
    path.write_text(compressor_code("mine"))
    plugins = load_plugins(env={"OVRECIPE_DISABLED_PLUGINS": "all"}, options=[str(path)])
    found = plugins.provider("compressor", "mine", recipe)
    assert (found.plugin, found.distribution) == ("mine", None)


def test_a_module_named_with_p_is_loaded(site: Site, recipe: Recipe) -> None:
    (site.root / "module_by_name.py").write_text(compressor_code("mine"))
    plugins = load_plugins(env={}, options=["module_by_name"], find=site.find)
    found = plugins.provider("compressor", "mine", recipe)
    assert found.version.startswith("sha256:")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("absent.py", "FileNotFoundError: no such file: .*absent.py"),
        ("no_such_module_here", "ModuleNotFoundError: No module named"),
    ],
)
def test_what_p_names_must_load(tmp_path: Path, option: str, reason: str) -> None:
    """An installed plugin may be broken; one that the user names now may not."""
    named = str(tmp_path / option) if option.endswith(".py") else option
    with pytest.raises(PluginError, match=f"failed to load: {reason}"):
        load_plugins(env={}, options=[named])


def test_the_options_load_the_same_plugins_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage's process is given them."""
    (tmp_path / "mine.py").write_text(compressor_code("mine"))
    monkeypatch.chdir(tmp_path)
    plugins = load_plugins(env={"OVRECIPE_DISABLED_PLUGINS": "b"}, options=["./mine.py", "no:A"])
    assert plugins.options == (str(tmp_path / "mine.py"), "no:a", "no:b")


def test_every_file_of_a_package_stands_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that compresses is seldom in `__init__.py`; artifacts of another one are stale."""
    package = tmp_path / "digested_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = named_source("digested_plugin")
    before = source.content_digest()
    assert named_source(str(package / "__init__.py")).content_digest() == before
    (package / "inner.py").write_text("x = 2\n")
    assert source.content_digest() != before
