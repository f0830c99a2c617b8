"""Toolchains: made once or not at all, found whole, used by the exporter, named in keys."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.toolchains import Toolchains
from ovrecipe.errors import RecipeInvalid, StoreNotWritable, ToolchainError
from ovrecipe.hooks.provided import provider_problems
from ovrecipe.hooks.roles import Toolchain
from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN, fake_recipe, work_on, write_recipe
from tests.build.toolchain_plugin import TINY, VANISHED
from tests.build.wheels import only_from, write_wheel
from tests.conftest import REPOSITORY, CommandLine

#: Seconds after which something else has gone wrong.
PATIENCE = 120
PLUGIN = str(Path(__file__).with_name("toolchain_plugin.py"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is all the index there is."""
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "tinytool", "1.0")
    write_wheel(folder, "iniconfig", version("iniconfig"))
    write_wheel(folder, "broken", "1.0", "raise ImportError('needs another C library')")
    return folder


@pytest.fixture
def toolchains(wheels: Path, tmp_path: Path) -> Toolchains:
    """The toolchains of a test, of which none is made."""
    return Toolchains.of(only_from(wheels, tmp_path / "toolchains"))


@pytest.fixture(scope="module")
def made(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Toolchains:
    """The toolchains that tests share which change nothing, of which one is made."""
    found = Toolchains.of(only_from(wheels, tmp_path_factory.mktemp("toolchains")))
    assert found.make(TINY)
    return found


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    """What TINY_PIPE names: an import of tinytool waits there."""
    place = str(tmp_path / "pipe")
    os.mkfifo(f"{place}.begun")
    os.mkfifo(f"{place}.go")
    return place


def importer_at(pipe: str) -> int:
    """Wait until tinytool is being imported, and return by which process."""
    # Opened so, it does not wait for ever for a process that has failed before.
    begun = os.open(f"{pipe}.begun", os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(begun) as stream:
        assert select.select([stream], [], [], PATIENCE)[0], "nobody came to import it"
        return int(stream.read())


def left_in(toolchains: Toolchains) -> list[str]:
    """Return what lies there besides locks."""
    return sorted(path.name for path in toolchains.root.iterdir() if path.name != ".locks")


def context_with(project: Project, env: Mapping[str, str]) -> BuildContext:
    """Return a context that knows the exporter with toolchains."""
    return BuildContext(replace(project, env=env), plugin_options=(FAKE_PLUGIN, PLUGIN))


def lined(checkpoint: str = "old", **model: Any) -> dict[str, Any]:
    """Return a recipe for the exporter with toolchains."""
    return fake_recipe(model={"id": f"made:{checkpoint}", "exporter": "lined", **model})


def do(context: BuildContext, *stages: str) -> str:
    """Run stages of the recipe and return what was said."""
    said = io.StringIO()
    for stage in stages:
        work_on(context, "m", stage).do(Lines(said))
    return said.getvalue()


def test_the_exporter_of_the_manual_brings_a_toolchain() -> None:
    """The example is executed, and chooses by what a config.json says."""
    page = (REPOSITORY / "docs" / "toolchains.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    exporter = made["OldExporter"]()
    assert provider_problems("exporter", exporter) == []
    assert exporter.toolchain({"transformers_version": "4.40.2"}).name == "old"
    assert exporter.toolchain({"transformers_version": "5.1.0"}).name == "main"


@pytest.mark.slow
def test_its_own_packages_come_first_and_those_of_the_main_environment_behind(
    made: Toolchains,
) -> None:
    """Whatever .pth files the main environment has, as those of editable installs."""
    code = "import tinytool, ovrecipe, pluggy; print(tinytool.version, ovrecipe.__file__)"
    words = [str(made.python(TINY)), "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=made.root)
    import ovrecipe

    assert done.stdout.split() == ["1.0", ovrecipe.__file__]


@pytest.mark.slow
def test_a_toolchain_is_made_once(made: Toolchains) -> None:
    """And what lies there is the toolchain alone."""
    assert made.objection(TINY) is None
    assert not made.make(TINY)
    assert left_in(made) == [made.folder(TINY).name]
    assert made.manifest(TINY)["packages"] == {"tinytool": "1.0"}


@pytest.mark.slow
def test_what_the_main_environment_has_in_this_version_is_installed_too(
    toolchains: Toolchains,
) -> None:
    """It may move there; pip would take it for satisfied, or remove the other one."""
    same = Toolchain("same", {"iniconfig": version("iniconfig")})
    toolchains.make(same)
    [place] = toolchains.folder(same).rglob("iniconfig.py")
    assert toolchains.objection(same) is None
    assert toolchains.folder(same) in place.parents


@pytest.mark.slow
def test_a_toolchain_that_lost_a_package_is_made_again(toolchains: Toolchains) -> None:
    """A look at it costs a few stats, so it is had before each use."""
    toolchains.make(TINY)
    [info] = toolchains.folder(TINY).rglob("tinytool-1.0.dist-info")
    info.rename(info.with_name("elsewhere"))
    assert toolchains.objection(TINY) == "its tinytool 1.0 is gone"
    assert toolchains.make(TINY)
    assert toolchains.objection(TINY) is None


@pytest.mark.slow
def test_a_version_that_vanished_is_named_and_leaves_only_its_log(toolchains: Toolchains) -> None:
    """An index may withdraw what was locked."""
    match = r"toolchain tiny-9: (pip|uv) failed with exit code 1; its log is (.|\n)*tinytool"
    with pytest.raises(ToolchainError, match=match) as caught:
        toolchains.make(VANISHED)
    assert "model.toolchain" in str(caught.value.remedy)
    assert toolchains.objection(VANISHED) == "it is not made yet"
    assert left_in(toolchains) == ["logs"]
    [log_path] = (toolchains.root / "logs").iterdir()
    assert "tinytool==9.0" in log_path.read_text()


@pytest.mark.slow
def test_what_installs_and_does_not_load_is_no_toolchain(toolchains: Toolchains) -> None:
    """A wheel for another system shows it at its import only."""
    with pytest.raises(ToolchainError, match=r"its proof failed(.|\n)*needs another C library"):
        toolchains.make(Toolchain("odd", {"broken": "1.0"}))
    assert left_in(toolchains) == ["logs"]


class Setuptools:
    """A finder as setuptools has one: where pip is looked for, it replaces distutils."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse what a search for pip would set off."""
        assert name != "pip", "setuptools replaces distutils now, and warns of it"


@pytest.mark.slow
def test_pip_is_found_without_a_search_for_its_module(
    toolchains: Toolchains, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which setuptools takes as its cue."""
    monkeypatch.setenv("PATH", os.devnull)  # no uv
    monkeypatch.setattr(sys, "meta_path", [Setuptools, *sys.meta_path])
    assert toolchains.make(TINY)


@pytest.mark.slow
def test_of_two_that_want_it_one_makes_it(toolchains: Toolchains, pipe: str) -> None:
    """The other says that it waits, and shares it."""
    slow = replace(toolchains, env={**toolchains.env, "TINY_PIPE": pipe})
    waits = threading.Event()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(slow.make, TINY)
        importer_at(pipe)
        second = pool.submit(toolchains.make, TINY, waiting=waits.set)
        assert waits.wait(PATIENCE)
        Path(f"{pipe}.go").write_text("")
        assert (first.result(), second.result()) == (True, False)


@pytest.mark.slow
def test_killed_while_it_is_made_nothing_counts(toolchains: Toolchains, pipe: str) -> None:
    """The next one removes what is left, and begins anew."""
    env = {**toolchains.env, "TINY_PIPE": pipe}
    words = [sys.executable, "-m", "ovrecipe", "-p", PLUGIN, "toolchain", "make", TINY.name]
    maker = subprocess.Popen(words, env=env)
    proof = importer_at(pipe)
    maker.kill()
    maker.wait()
    os.kill(proof, signal.SIGKILL)
    assert toolchains.objection(TINY) == "it is not made yet"
    assert left_in(toolchains)[0].startswith(".stage-")
    assert toolchains.make(TINY)
    assert left_in(toolchains) == [toolchains.folder(TINY).name]


@pytest.mark.slow
def test_cancelled_while_it_is_made_nothing_is_left(toolchains: Toolchains, pipe: str) -> None:
    """Ctrl-C of a build ends what installs, too."""
    slow = replace(toolchains, env={**toolchains.env, "TINY_PIPE": pipe})
    cancelled = threading.Event()
    with ThreadPoolExecutor() as pool:
        making = pool.submit(slow.make, TINY, cancelled=cancelled.is_set)
        importer_at(pipe)
        cancelled.set()
        with pytest.raises(KeyboardInterrupt):
            making.result()
    assert left_in(toolchains) == []


def test_a_folder_that_cannot_be_written_is_named(wheels: Path, tmp_path: Path) -> None:
    """With the variable that names another."""
    (tmp_path / "file").touch()
    toolchains = Toolchains.of(only_from(wheels, tmp_path / "file" / "toolchains"))
    with pytest.raises(StoreNotWritable, match="cannot be written") as caught:
        toolchains.make(TINY)
    assert "OVRECIPE_TOOLCHAINS" in str(caught.value.remedy)


@pytest.mark.slow
def test_what_a_build_uses_is_not_removed(toolchains: Toolchains) -> None:
    """Its exporter may import more, any time."""
    assert not toolchains.remove(TINY)
    toolchains.make(TINY)
    with toolchains.used(TINY), pytest.raises(ToolchainError, match="a running build uses it"):
        toolchains.remove(TINY)
    assert toolchains.remove(TINY)
    assert left_in(toolchains) == []


@pytest.mark.slow
def test_a_build_says_why_it_makes_a_toolchain_and_exports_in_it(
    project: Project, toolchains: Toolchains
) -> None:
    """The architecture decides, as soon as the checkpoint is here; the next build finds it made."""
    write_recipe(project, "m", lined())
    context = context_with(project, toolchains.env)
    said = do(context, "source", "base")
    why = "base m: old needs another tinytool; using toolchain tiny-1"
    assert f"{why}, which is made now, once for all projects\n" in said
    key = context.plan("m").key("base")
    assert key is not None
    assert (context.store.artifact_dir(key) / "openvino_model.xml").read_text() == "1.0"
    context.store.remove(key)
    assert f"{why}\n" in do(context_with(project, toolchains.env), "base")


@pytest.mark.slow
def test_the_main_environment_exports_where_it_fits(
    project: Project, toolchains: Toolchains
) -> None:
    """Nothing is made, and nothing is said."""
    write_recipe(project, "m", lined("new"))
    context = context_with(project, toolchains.env)
    assert "toolchain" not in do(context, "source", "base")
    key = context.plan("m").key("base")
    assert key is not None
    assert (context.store.artifact_dir(key) / "openvino_model.xml").read_text() == "none"
    assert not toolchains.root.exists()


@pytest.mark.slow
def test_a_toolchain_that_cannot_be_made_fails_the_build_with_its_log(
    project: Project, toolchains: Toolchains
) -> None:
    """And the stage is not begun."""
    write_recipe(project, "m", lined("gone"))
    context = context_with(project, toolchains.env)
    with pytest.raises(ToolchainError, match=r"toolchain tiny-9: (.|\n)*its log is"):
        do(context, "source", "base")
    assert not work_on(context, "m", "base").is_done()


def key_of(project: Project, recipe: dict[str, Any], stage: str = "base") -> dict[str, Any]:
    """Return the document of a key, once the checkpoint is here."""
    write_recipe(project, "m", recipe)
    context = context_with(project, {**os.environ, "HF_HUB_OFFLINE": "1"})
    do(context, "source")
    key = context.plan("m").key(stage)
    assert key is not None
    return dict(key.document)


def test_a_key_names_the_toolchain_and_the_versions_in_it(project: Project) -> None:
    """What is exported with other versions is another base; all else of the key is the same."""
    before, after = key_of(project, lined("old", toolchain="main")), key_of(project, lined())
    assert before["exporter"]["packages"]["tinytool"] is None
    assert after["exporter"]["packages"]["tinytool"] == "1.0"
    assert after.pop("toolchain")["name"] == "tiny-1"
    after["exporter"]["packages"]["tinytool"] = None
    assert after == before


def test_the_main_environment_is_in_no_key(project: Project) -> None:
    """What was built before there were toolchains is up to date, and a name of it says nothing."""
    chosen, named = key_of(project, lined("new")), key_of(project, lined("new", toolchain="main"))
    assert chosen == named
    assert "toolchain" not in chosen


def test_a_recipe_overrides_the_choice(project: Project) -> None:
    assert key_of(project, lined("new", toolchain="tiny-1"))["toolchain"]["name"] == "tiny-1"


def test_a_key_stays_when_the_checkpoint_is_collected(project: Project) -> None:
    """Else `gc --intermediates` would make everything stale that a toolchain exported."""
    wanted = key_of(project, lined())
    context = context_with(project, os.environ)
    source = context.plan("m").pinned_key("source")
    context.store.remove(source)
    assert not context.store.has(source)
    found = context_with(project, os.environ).plan("m").pinned_key("base")
    assert dict(found.document) == wanted


def test_before_the_checkpoint_is_here_the_main_environment_is_assumed(project: Project) -> None:
    """One plan learns better while a build runs."""
    write_recipe(project, "m", lined())
    context = context_with(project, os.environ)
    assert "toolchain" not in context.plan("m").pinned_key("base").document
    do(context, "source")
    assert "toolchain" in context.plan("m").pinned_key("base").document


@pytest.mark.parametrize(
    ("recipe", "message", "remedy"),
    [
        (
            lined(),
            "toolchain tiny-1 cannot be used: it is not made yet, and HF_HUB_OFFLINE is set",
            "ovrecipe toolchain make tiny-1",
        ),
        (lined("lost"), "recipe 'm': lost needs another tinytool", "model.toolchain"),
    ],
    ids=["offline", "none fits"],
)
def test_a_build_without_an_environment_is_refused_before_it_exports(
    project: Project, tmp_path: Path, recipe: dict[str, Any], message: str, remedy: str
) -> None:
    """With the one command that helps."""
    write_recipe(project, "m", recipe)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OVRECIPE_TOOLCHAINS": str(tmp_path / "none")}
    context = context_with(project, env)
    with pytest.raises(ToolchainError, match=message) as caught:
        do(context, "source", "base")
    assert remedy in str(caught.value.remedy)


def test_an_unknown_toolchain_is_refused_where_it_is_written(project: Project) -> None:
    """The closest name is said, and what there is."""
    write_recipe(project, "m", lined("old", toolchain="tinny-1"))
    match = r"m\.yaml:4:3: model\.toolchain: the exporter 'lined' has no toolchain 'tinny-1'; perha"
    with pytest.raises(RecipeInvalid, match=match) as caught:
        context_with(project, os.environ).plan("m").judge()
    assert caught.value.remedy == "it has: main, tiny-1, tiny-9"


def test_the_command_lists_them_and_refuses_unknown_names(
    ovrecipe: CommandLine, tmp_path: Path
) -> None:
    """Those of every exporter, also where there is no project."""
    env = {"OVRECIPE_TOOLCHAINS": str(tmp_path / "none")}
    listed = json.loads(ovrecipe("-p", PLUGIN, "toolchain", "list", "--json", env=env).out)
    names = [row["name"] for row in listed["toolchains"]]
    assert listed["folder"] == env["OVRECIPE_TOOLCHAINS"]
    assert {"tf-4.57", "tf-5.2", "tiny-1"} <= {*names}
    assert {row["objection"] for row in listed["toolchains"]} == {"it is not made yet"}
    for command in ("show", "make", "remove"):
        done = ovrecipe("toolchain", command, "tf-4.75", env=env)
        assert done.code == 13
        assert "there is no toolchain 'tf-4.75'; perhaps you meant 'tf-4.57'" in done.err
    assert "is the environment that ovrecipe runs in" in ovrecipe("toolchain", "make", "main").err


@pytest.mark.slow
def test_the_commands_make_show_and_remove(ovrecipe: CommandLine, toolchains: Toolchains) -> None:
    """As people and as programs read it."""
    env = {name: value for name, value in toolchains.env.items() if os.environ.get(name) != value}

    def said(*words: str) -> Any:
        return json.loads(ovrecipe("-p", PLUGIN, "toolchain", *words, "--json", env=env).out)

    [row] = said("make", "tiny-1")["toolchains"]
    assert (row["was_made"], row["objection"]) == (True, None)
    assert row["size_bytes"] > 0
    shown = ovrecipe("-p", PLUGIN, "toolchain", "show", "tiny-1", env=env).out
    assert shown.startswith("tinytool==1.0\nstate: made, ")
    assert said("show", "tiny-1")["python"] == str(toolchains.python(TINY))
    assert said("remove", "tiny-1")["toolchains"][0]["removed"]
    assert ovrecipe("toolchain", "remove", env=env).code == 2
    other = toolchains.root / "other-0123456789ab"
    other.mkdir()
    (other / "toolchain.json").write_text('{"size_bytes": 5}')
    assert said("remove", "--all")["toolchains"] == [
        {"name": other.name, "removed": True, "freed_bytes": 5}
    ]
    assert "was not made" in ovrecipe("-p", PLUGIN, "toolchain", "remove", "tiny-1", env=env).out
