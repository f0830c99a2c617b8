"""doit's own commands on a project, each in a process as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ovrecipe.recipe.project import Project
from tests.build.making import fake_recipe, write_recipe
from tests.conftest import REPOSITORY

DODO = REPOSITORY / "dodo.py"
OVRECIPE = "from ovrecipe.cli.main import application; application()(['{}'], standalone_mode=False)"
HEAVY = {
    "openvino",
    "openvino_genai",
    "nncf",
    "optimum",
    "transformers",
    "torch",
    "huggingface_hub",
}


def python(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder, with its store."""
    (project.root / "dodo.py").write_text(DODO.read_text())
    return subprocess.run(
        [sys.executable, *words],
        cwd=project.root,
        env={**os.environ, "OVRECIPE_STORE": str(project.store_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


def doit(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run doit in the project's folder."""
    return python(project, "-m", "doit", *words)


def heavy_imports(project: Project, script: str) -> set[str]:
    """Return the heavy libraries that a script leaves imported."""
    report = "\nimport sys; print('MODULES', *{each.split('.')[0] for each in sys.modules})"
    done = python(project, "-c", script + report)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.rpartition("MODULES ")[2].split()
    assert "ovrecipe" in modules
    return HEAVY & {*modules}


def test_list_names_every_recipe_and_stage(project: Project) -> None:
    """`doit list` is the table of contents."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "list")
    assert done.returncode == 0
    assert "build:m " in done.stdout
    assert "build:m:int4 " in done.stdout
    assert "made:checkpoint as int4, int4-other" in done.stdout
    assert "weights" in done.stdout


def test_a_broken_recipe_does_not_hide_the_others(project: Project) -> None:
    """Its own task says what is wrong with it; the rest works."""
    write_recipe(project, "good", fake_recipe())
    (project.recipes_dir / "bad.yaml").write_text("model: [")
    listed = doit(project, "list")
    assert "build:good " in listed.stdout
    assert "build:bad " in listed.stdout
    built = doit(project, "build:bad")
    assert built.returncode != 0
    assert "bad.yaml:" in built.stdout
    assert "Traceback" not in built.stdout + built.stderr


def test_info_shows_the_inputs_of_a_stage(project: Project) -> None:
    """`doit info` answers what a task waits for."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "info", "weights:m:int4")
    assert "base:m" in done.stdout
    assert "<weights m:int4>" in done.stdout
    assert done.stderr == ""


def test_bare_doit_says_what_can_be_built(project: Project) -> None:
    """Building every model there is would surprise."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project)
    assert done.returncode == 0
    assert "doit build:m" in done.stdout
    assert not (project.store_dir / "source").exists()


def test_an_unknown_plugin_provider_is_an_error_of_its_task(project: Project) -> None:
    """The list still works; building names the provider and the recipe's plugin."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "build:m")
    assert done.returncode != 0
    assert "made" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "script",
    [
        "from doit.doit_cmd import DoitMain; DoitMain().run(['list'])",
        OVRECIPE.format("--help"),
        OVRECIPE.format("list"),
        "import ovrecipe",
    ],
)
def test_looking_loads_no_heavy_library(project: Project, script: str) -> None:
    """Half a second of imports for a list would be felt every time."""
    write_recipe(project, "m", fake_recipe())
    assert not heavy_imports(project, script)


@pytest.mark.model
def test_a_build_with_nothing_to_do_loads_no_heavy_library(smollm2_project: Project) -> None:
    """The store is asked with a few stats."""
    script = "from doit.doit_cmd import DoitMain; print(DoitMain().run(['build:smollm2-135m']))"
    assert not heavy_imports(smollm2_project, script)


@pytest.mark.model
def test_nothing_changed_runs_nothing(smollm2_project: Project) -> None:
    """Every line of doit starts with the two dashes of what is up to date."""
    done = doit(smollm2_project, "build:smollm2-135m")
    assert done.returncode == 0
    assert {line[:3] for line in done.stdout.splitlines()} == {"-- "}


@pytest.mark.model
def test_clean_removes_the_name_and_building_brings_it_back(smollm2_project: Project) -> None:
    """The artifact stays in the store, so nothing heavy runs again."""
    view = smollm2_project.models_dir / "smollm2-135m" / "int8"
    assert doit(smollm2_project, "clean", "build:smollm2-135m:int8").returncode == 0
    assert not view.exists()
    done = doit(smollm2_project, "build:smollm2-135m:int8")
    assert view.exists()
    assert ".  build smollm2-135m:int8" in done.stdout
    assert ".  weights" not in done.stdout
