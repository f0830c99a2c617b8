"""A plugin that does not load is listed with its reason and breaks nothing else."""

from __future__ import annotations

import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.errors import PluginError
from ovrecipe.hooks.loading import Loaded, load_one, named_source
from ovrecipe.hooks.plugins import Plugins, load_plugins
from ovrecipe.hooks.specs import hookimpl
from ovrecipe.testing import plugins_with
from tests.hooks.installed import COMPRESSOR, Site, compressor_code

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe

HEAD = "from ovrecipe import hookimpl\n@hookimpl\n"


def loaded(site: Site, code: str = COMPRESSOR, **how: str) -> Loaded:
    """Install a distribution with one provider, and import that."""
    site.install("odd", code, **how)  # type: ignore[arg-type]
    plugins = load_plugins(env={}, find=site.find)
    return plugins.loaded(plugins.installed[0])


RAISES = [
    ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ("import sys; sys.exit('bye')", "SystemExit: bye"),
    ("this is no Python", "SyntaxError: invalid syntax .*"),
]
BREAKS_THE_RULES = [
    ("x = 1", "implements no hook; mark functions with @ovrecipe.hookimpl"),
    (
        HEAD + "def after_stages(stage): ...",
        "unknown hook 'after_stages' in plugin <module .*>; perhaps you meant 'after_stage'",
    ),
    (
        HEAD + "def after_stage(stages): ...",
        r".*Argument\(s\) \{'stages'\} are declared in the hookimpl but can not be found .*",
    ),
    (HEAD + "def after_stage(stage='x'): ...", "after_stage: argument 'stage' has a default; .*"),
    (
        HEAD + "def providers(): return {}\ndef after_stage(stage): ...",
        "after_stage: lacks the marker @ovrecipe.hookimpl, so it is never called",
    ),
]
PROVIDERS = HEAD + "def providers(): return "
BREAKS_THE_NAMES = [
    (PROVIDERS + "'abc'", "providers: returned str; it returns a mapping"),
    (PROVIDERS + "{'sorce': {}}", "providers: no role 'sorce'; perhaps you meant 'source'"),
    (PROVIDERS + "{'source': ['x']}", r"providers: source: \['x'\] has no objects by name"),
    (PROVIDERS + "{'source': {1: 2}}", r"providers: source: \{1: 2\} has no objects by name"),
    (PROVIDERS + "{}['x']", "KeyError: 'x'"),
    (
        PROVIDERS + "{'compressor': {'nncf': 1}}",
        "claims the compressor 'nncf', which is built in; rename it",
    ),
]


@pytest.mark.parametrize(("code", "reason"), [*RAISES, *BREAKS_THE_RULES, *BREAKS_THE_NAMES])
def test_what_is_wrong_with_hooks_is_said_in_one_line(site: Site, code: str, reason: str) -> None:
    """Pluggy's own words where it has some; what it takes in silence is said by us."""
    site.install_hooks("odd", code)
    plugins = load_plugins(env={}, find=site.find)
    [found] = plugins.with_hooks()
    assert re.fullmatch(reason, found.failure or "")
    assert plugins.manager.get_plugins() == set()


@pytest.mark.parametrize(("code", "reason"), RAISES)
def test_what_is_wrong_with_a_provider_is_said_in_one_line(
    site: Site, code: str, reason: str
) -> None:
    """Its import is as foreign as that of hooks."""
    assert re.fullmatch(reason, loaded(site, code).failure or "")


def test_the_hooks_of_a_plugin_that_failed_are_not_told(site: Site) -> None:
    """Pluggy leaves the half that it had registered before it raised."""
    code = HEAD + "def after_generation(result): raise ValueError\n"
    site.install_hooks("odd", code + HEAD.splitlines()[1] + "\ndef after_stage(no): ...\n")
    said: list[str] = []
    plugins = load_plugins(env={}, find=site.find)
    plugins.tell("after_generation", {"result": 1}, report=said.append)
    assert len(said) == 1
    assert "Argument(s) {'no'}" in said[0]


def test_what_a_plugin_raised_is_kept_for_its_author(site: Site) -> None:
    """`--traceback` and `plugins --json` show where it was."""
    found = loaded(site, "def f():\n    raise ValueError('deep')\nf()")
    assert isinstance(found.raised, ValueError)
    with pytest.raises(PluginError, match=r"failed to load: ValueError: deep") as caught:
        found.usable()
    assert caught.value.__cause__ is found.raised


def test_ctrl_c_at_import_ends_the_command(site: Site) -> None:
    """A user who interrupts a slow import means the command, not the plugin."""
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        loaded(site, "raise KeyboardInterrupt")


def test_a_plugin_for_a_newer_ovrecipe_is_not_even_imported(site: Site) -> None:
    """Its mistakes would be told in the place of the reason."""
    found = loaded(site, requires="ovrecipe>=99")
    assert found.failure == "needs ovrecipe>=99, and this is ovrecipe 0.1.0"
    assert site.imported == []


@pytest.mark.parametrize(
    "requires",
    ["ovrecipe>=0.1", "ovrecipe-core>=99", "ovrecipe>=99; extra == 'new'", "Ovrecipe <1"],
)
def test_other_requirements_are_pips_to_judge(site: Site, requires: str) -> None:
    """Only what pip does not look at again is looked at here."""
    assert loaded(site, requires=requires).failure is None


def test_a_missing_library_of_the_build_extra_says_how_to_install_it(site: Site) -> None:
    """Most plugins that fail to load fail for that."""
    code = "raise ModuleNotFoundError('No module named nncf', name='nncf.torch')"
    remedy = loaded(site, code).remedy
    assert remedy == "install ovrecipe[build], or skip it with -p no:ovrecipe-odd"


def test_a_hook_of_a_later_ovrecipe_may_be_marked_optional(site: Site) -> None:
    """As pluggy has it."""
    later = "\n@hookimpl(optionalhook=True)\ndef before_lunch(name): ...\n"
    site.install_hooks("odd", PROVIDERS + "{}\n" + later)
    [found] = load_plugins(env={}, find=site.find).with_hooks()
    assert found.failure is None


def test_a_plugin_without_a_hash_is_told_how_to_get_one() -> None:
    """A frozen dataclass has a method for it, which fails over what it holds."""

    @dataclass(frozen=True)
    class Watcher:
        seen: dict[str, str] = field(default_factory=dict)

        @hookimpl
        def after_stage(self, stage: str) -> None: ...

    plugins = plugins_with(Watcher())
    [found] = plugins.with_hooks()
    assert found.failure == (
        "Watcher has hooks, and no hash (unhashable type: 'dict'); write @dataclass(eq=False) or a "
        "__hash__"
    )


def test_a_module_an_object_and_a_class_can_have_hooks(site: Site) -> None:
    """A class is called without arguments, as one that provides something is."""
    code = (
        "from ovrecipe import hookimpl\nclass P:\n    @hookimpl\n"
        "    def providers(self): return {'frontend': {'mine': self}}\n"
        "    def show(self, generation, console): ...\nplugin = P()\n"
    )
    for number, name in enumerate(("P", "plugin")):
        site.install(f"of{number}", code, points=f"[ovrecipe]\nof{number} = MODULE:{name}")
    plugins = load_plugins(env={}, find=site.find)
    assert [found.failure for found in plugins.with_hooks()] == [None, None]
    assert len(plugins.claims("frontend", "mine")) == 2


def test_the_import_is_timed_with_the_clock_that_is_given(site: Site) -> None:
    """The list shows it."""
    site.install("odd")
    ticks = iter([10.0, 12.5])
    [source] = load_plugins(env={}, find=site.find).installed
    assert load_one(source, clock=lambda: next(ticks)).seconds == 2.5


def test_what_is_printed_at_import_goes_to_stderr(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would spoil the JSON of whoever asked for some."""
    loaded(site, "print('hello')" + COMPRESSOR)
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "hello\n")


def test_a_slow_import_says_what_one_is_waiting_for(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds of silence look like a hang; the notice comes while the import goes on."""
    said = threading.Event()
    monkeypatch.setattr(sys, "waiting_for_the_notice", said, raising=False)
    notice = sys.stderr.write

    def write(text: str) -> int:
        said.set()
        return notice(text)

    monkeypatch.setattr(sys.stderr, "write", write)
    site.install("odd", "import sys; assert sys.waiting_for_the_notice.wait(60)" + COMPRESSOR)
    [source] = load_plugins(env={}, find=site.find).installed
    assert load_one(source, slow_seconds=0.0).failure is None
    assert "ovrecipe: importing plugin 'odd' (ovrecipe-odd 1.0) ...\n" in capsys.readouterr().err


def test_plugins_are_in_the_order_of_their_names(site: Site) -> None:
    """The order of directories differs between machines."""
    for name in ("zeta", "alpha", "middle"):
        site.install(name)
    names = [source.name for source in load_plugins(env={}, find=site.find).installed]
    assert names == ["alpha", "middle", "zeta"]


def test_a_file_named_with_p_is_loaded(tmp_path: Path, recipe: Recipe) -> None:
    """Whatever is disabled: the user names it now."""
    path = tmp_path / "mine.py"
    path.write_text(compressor_code("mine"))
    plugins = load_plugins(env={"OVRECIPE_DISABLED_PLUGINS": "all"}, options=[str(path)])
    found = plugins.provider("compressor", "mine", recipe)
    assert (found.source.name, found.source.distribution) == ("mine", None)


def test_a_file_that_is_named_twice_is_loaded_once(tmp_path: Path, recipe: Recipe) -> None:
    """It would claim its own names twice."""
    path = tmp_path / "mine.py"
    path.write_text(compressor_code("mine"))
    plugins = load_plugins(env={}, options=[str(path), str(path)])
    assert plugins.provider("compressor", "mine", recipe).source.name == "mine"


def test_a_module_named_with_p_is_loaded(site: Site, recipe: Recipe) -> None:
    """For a try without an installation."""
    (site.root / "module_by_name.py").write_text(compressor_code("mine"))
    plugins = load_plugins(env={}, options=["module_by_name"], find=site.find)
    found = plugins.provider("compressor", "mine", recipe)
    assert str(found.source.release).startswith("sha256:")


def test_a_plugin_that_is_installed_and_named_is_told_once(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is one module, however it came here."""
    site.install_hooks("watch", HEAD + "def after_stage(stage): print(stage)")
    [source] = load_plugins(env={}, find=site.find).installed
    plugins = load_plugins(env={}, options=[source.location], find=site.find)
    given = dict.fromkeys(("recipe", "variant", "artifact_dir", "manifest"))
    plugins.tell("after_stage", {"stage": "base", **given}, report=print)
    assert capsys.readouterr().out == "base\n"


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
    before = named_source("digested_plugin").release
    assert named_source(str(package / "__init__.py")).release == before
    assert named_source("digested_plugin.inner").release == before
    (package / "inner.py").write_text("x = 2\n")
    assert named_source("digested_plugin").release != before


def test_an_editable_installation_counts_by_its_code(site: Site) -> None:
    """Its version stays while its author works, and what it built would never be built again."""
    site.install("released", version="2.0")
    site.install("edited", version="2.0", editable=True)

    def releases() -> list[str | None]:
        return [source.release for source in Plugins(env={}, find=site.find).installed]

    edited, released = releases()
    assert str(edited).startswith("sha256:")
    assert released == "2.0"
    for path in site.root.glob("site_*.py"):
        path.write_text(path.read_text() + "# changed\n")
    assert releases()[0] != edited
    assert releases()[1] == "2.0"
