"""What the README shows is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import Project
from tests.conftest import REPOSITORY, CommandLine

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_recipe_is_one(tmp_path: Path) -> None:
    """A reader copies it."""
    [text] = blocks("yaml")
    path = tmp_path / "mistral-7b.yaml"
    path.write_text(text)
    shown, ours = load_recipe_file(path), load_recipe_file(REPOSITORY / "recipes" / path.name)
    assert shown.model == ours.model
    assert shown.prompt == ours.prompt
    assert shown.variants["int4"] == ours.variants["int4"]


def test_nothing_is_left_to_fill_in() -> None:
    """The transcript and the figures are real output."""
    assert not re.findall(r"^[A-Z]{3,}$", README, flags=re.MULTILINE)


def test_every_link_leads_somewhere() -> None:
    """A moved page is noticed."""
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (REPOSITORY / link).exists()]


def test_every_make_target_it_names_exists() -> None:
    """The two commands are the first thing anybody types."""
    makefile = (REPOSITORY / "Makefile").read_text()
    named = set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))
    assert {"demo", "test"} <= named
    assert not [target for target in named if f"\n{target}:" not in makefile]


@pytest.mark.model
def test_the_python_example_streams_an_answer(smollm2_project: Project) -> None:
    """Three lines to the first word."""
    example = blocks("python")[0]
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=smollm2_project.root,
        env={**os.environ, "OVRECIPE_STORE": str(smollm2_project.store_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "colours" in done.stdout.lower()


@pytest.mark.model
def test_the_plugin_works_from_a_file(
    ovrecipe: CommandLine, smollm2_project: Project, tmp_path: Path
) -> None:
    """It is all that an output filter needs."""
    project = tmp_path / "project"
    (project / "recipes").mkdir(parents=True)
    (project / "models").symlink_to(smollm2_project.models_dir)
    text = (smollm2_project.recipes_dir / "smollm2-135m.yaml").read_text()
    recipe = project / "recipes" / "smollm2-135m.yaml"
    recipe.write_text(text + "output: {filters: [shout]}\n")
    (project / "shout.py").write_text(blocks("python")[1])
    shutil.copy(REPOSITORY / "dodo.py", project)
    words = ("-p", "shout.py", "run", "smollm2-135m:int4", "What is the capital of France?")
    done = ovrecipe(*words, "--greedy", cwd=project)
    assert "THE CAPITAL OF FRANCE IS PARIS" in done.out, done.err
