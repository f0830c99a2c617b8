"""Observers are told what happened, and nothing they do breaks it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe import hookimpl
from ovrecipe.build.events import Lines
from ovrecipe.build.execute import Work
from ovrecipe.build.stages import stage_named
from ovrecipe.hooks.plugins import Plugins, load_plugins
from ovrecipe.testing import FakePipeline, plugins_with
from tests.build.making import FAKE_PLUGIN, context_of, fake_recipe, write_recipe
from tests.hooks.installed import Site
from tests.run.fakes import runner

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project
    from tests.conftest import CommandLine

OBSERVER = """
from ovrecipe import hookimpl
@hookimpl
def after_stage(stage, variant): print("told", stage, variant)
"""


def told(plugins: Plugins, hook: str = "after_stage", **arguments: Any) -> list[str]:
    """Tell the observers of a hook, and return what was reported."""
    given = {"stage": "base", "recipe": None, "variant": None, "artifact_dir": None, "manifest": {}}
    said: list[str] = []
    plugins.tell(hook, {**given, **arguments}, report=said.append)
    return said


def install(site: Site, name: str, code: str) -> None:
    site.install_hooks(name, code)


def test_only_plugins_with_hooks_are_imported_to_be_told(site: Site) -> None:
    """Every build and every answer would wait for the slowest plugin otherwise."""
    install(site, "watch", OBSERVER)
    site.install("slow", "import time; time.sleep(60)")
    plugins = load_plugins(env={}, find=site.find)
    assert site.imported == []
    assert told(plugins) == []
    assert site.imported == ["watch"]


def test_an_observer_that_raises_is_named_and_the_next_one_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it watched has happened; nothing that it does can undo that."""
    install(site, "bad", OBSERVER.replace("print(", "raise KeyError("))
    install(site, "exits", OBSERVER.replace("print(", "raise SystemExit("))
    install(site, "good", OBSERVER)
    said = told(load_plugins(env={}, find=site.find), variant="int4")
    arguments = "('told', 'base', 'int4')"
    assert sorted(said) == [
        f"plugin 'bad' (ovrecipe-bad 1.0): after_stage raised KeyError: {arguments}",
        f"plugin 'exits' (ovrecipe-exits 1.0): after_stage raised SystemExit: {arguments}",
    ]
    assert capsys.readouterr().out == "told base int4\n"


def test_an_observer_that_does_not_load_is_reported_once(site: Site) -> None:
    install(site, "bad", "raise ValueError('x')")
    plugins = load_plugins(env={}, find=site.find)
    [said] = told(plugins)
    assert said.startswith("plugin 'bad' (ovrecipe-bad 1.0) failed to load: ValueError: x; ")
    assert told(plugins) == []


def test_a_skipped_observer_is_not_told(site: Site) -> None:
    install(site, "watch", OBSERVER)
    plugins = load_plugins(env={}, options=["no:watch"], find=site.find)
    assert told(plugins) == []
    assert site.imported == []


def test_a_file_named_on_the_command_line_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "watch.py"
    path.write_text(OBSERVER)
    assert told(load_plugins(env={}, options=[str(path)])) == []
    assert capsys.readouterr().out == "told base None\n"


def test_observers_are_told_in_the_order_of_pluggy(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one registered last is told first: those of `-p` come before the installed ones."""
    path = tmp_path / "named.py"
    path.write_text(OBSERVER.replace('"told"', '"named"'))
    for name in ("a", "b"):
        install(site, name, OBSERVER.replace('"told"', repr(name)))
    first = OBSERVER.replace('"told"', '"first"')
    first = first.replace("hookimpl\ndef", "hookimpl(tryfirst=True)\ndef")
    install(site, "0", first)
    told(load_plugins(env={}, options=[str(path)], find=site.find))
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["first", "b", "a", "named"]


def work(project: Project, observer: Path) -> Work:
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    context.plugin_options = (FAKE_PLUGIN, str(observer))
    return Work(context.plan("m"), stage_named("source"), None)


def test_a_stage_that_ran_is_told_with_its_artifact_and_manifest(
    project: Project, tmp_path: Path
) -> None:
    observer = tmp_path / "watch.py"
    observer.write_text(
        "import json, pathlib\nfrom ovrecipe import hookimpl\n"
        "@hookimpl\ndef after_stage(stage, recipe, variant, artifact_dir, manifest):\n"
        "    facts = [stage, recipe.name, variant, artifact_dir.is_dir(), manifest]\n"
        f"    pathlib.Path({str(tmp_path / 'told')!r}).write_text(json.dumps(facts))\n"
    )
    work(project, observer).do(Lines(io.StringIO()))
    *facts, manifest = json.loads((tmp_path / "told").read_text())
    assert facts == ["source", "m", None, True]
    [stored] = project.store_dir.glob("source/*/manifest.json")
    assert manifest == json.loads(stored.read_text())


def test_a_stage_that_was_done_tells_nobody_and_imports_nobody(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build with nothing to do costs the same with observers installed."""
    observer = tmp_path / "watch.py"
    observer.write_text(OBSERVER)
    work(project, observer).do(Lines(io.StringIO()))
    assert capsys.readouterr().out == "told source None\n"
    work(project, observer).do(Lines(io.StringIO()))
    assert capsys.readouterr().out == ""


def test_an_observer_that_raises_leaves_the_stage_published(
    project: Project, tmp_path: Path
) -> None:
    observer = tmp_path / "watch.py"
    observer.write_text(OBSERVER.replace("print(", "raise ValueError("))
    said = io.StringIO()
    stage = work(project, observer)
    stage.do(Lines(said))
    assert stage.is_done()
    assert f"source m: plugin 'watch' ({observer}): after_stage raised Value" in said.getvalue()


@pytest.mark.parametrize("how", ["read", "cancelled", "failed"])
def test_a_generation_that_ended_is_told_once(how: str) -> None:
    """A failed one has no result to tell of."""
    told: list[Any] = []
    pipeline = FakePipeline(fail=RuntimeError("broken") if how == "failed" else None)
    with runner(pipeline, observe=told.append) as model:
        answer = model.stream("hi")
        if how == "cancelled":
            answer.close()
        elif how == "failed":
            with pytest.raises(RuntimeError, match="broken"):
                list(answer)
        else:
            assert "".join(answer) == "The answer."
        answer.close()
    assert [generation.result.finish_reason for generation in told] == {
        "read": ["stop"],
        "cancelled": ["cancelled"],
        "failed": [],
    }[how]


def test_a_turn_is_remembered_before_observers_are_told() -> None:
    """They may look at the conversation."""
    seen: list[int] = []
    with runner(observe=lambda result: seen.append(len(chat.history))) as model:
        chat = model.chat()
        chat.generate("hi")
    assert seen == [2]


def test_plugins_of_a_test_are_told_too() -> None:
    seen: list[str] = []

    class Watch:
        @hookimpl
        def after_generation(self, result: Any) -> None:
            seen.append(result.text)

    plugins = plugins_with(Watch())
    asked = {"question": "hi", "messages": ({"role": "user", "content": "hi"},)}
    told(plugins, "after_generation", result=SimpleNamespace(text="hello"), **asked)
    assert seen == ["hello"]


def test_an_observer_learns_what_was_asked_and_what_answered() -> None:
    """A log of answers without their questions is no use to anybody."""
    from ovrecipe.run.load import _observe

    seen: list[Any] = []

    class Watch:
        @hookimpl
        def after_generation(
            self, recipe: Any, variant: str, question: str, messages: Any, result: Any
        ) -> None:
            seen.append((recipe.name, variant, question, len(messages), result.text))

    observe = _observe(plugins_with(Watch()), print)
    with runner(observe=observe) as model:
        chat = model.chat()
        chat.generate("first")
        chat.generate("second")
    assert seen == [
        ("fake", "int4", "first", 1, "The answer."),
        ("fake", "int4", "second", 3, "The answer."),
    ]


@pytest.mark.model
def test_an_answer_is_shown_whatever_an_observer_does(
    ovrecipe: CommandLine, smollm2_project: Project, tmp_path: Path
) -> None:
    """On stdout the answer, on stderr the trouble, and the exit code of an answer."""
    observer = tmp_path / "watch.py"
    observer.write_text(
        "from ovrecipe import hookimpl\n@hookimpl\n"
        "def after_generation(recipe, variant, result): raise ValueError(variant + result.text)\n"
    )
    words = ("run", "smollm2-135m:int4", "Hello.", "--greedy", "--max-new-tokens", "5")
    done = ovrecipe("-p", str(observer), *words, cwd=smollm2_project.root)
    assert done.code == 0
    assert done.out.strip()
    expected = f"ovrecipe: plugin 'watch' ({observer}): after_generation raised ValueError: int4"
    assert expected in done.err
