"""`ovrecipe report`: what it writes where, and what it says when there is nothing to write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ovrecipe.recipe.project import Project
from ovrecipe.report.document import _commands, _versions
from ovrecipe.store.manifest import Manifest
from ovrecipe.version import package_version
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.report.making import document as made
from tests.report.making import variant

if TYPE_CHECKING:
    from tests.conftest import CommandLine


def test_a_recipe_that_was_never_built_has_no_report(
    project: Project, ovrecipe: CommandLine
) -> None:
    """An empty page would look like a result."""
    write_recipe(project, "m", fake_recipe())
    done = ovrecipe("-p", FAKE_PLUGIN, "report", "m", cwd=project.root)
    assert done.code == 10
    assert "no variant of m is built" in done.said
    assert "ovrecipe build m" in done.said
    assert not (project.root / "m.html").exists()


def test_an_unknown_recipe_is_named(project: Project, ovrecipe: CommandLine) -> None:
    """With what there is."""
    write_recipe(project, "one", fake_recipe())
    done = ovrecipe("report", "onw", cwd=project.root)
    assert done.code == 3
    assert "perhaps you meant 'one'" in done.said


def test_an_unknown_format_is_refused(project: Project, ovrecipe: CommandLine) -> None:
    """The formats that there are stand in the message."""
    done = ovrecipe("report", "m", "--format", "pdf", cwd=project.root)
    assert done.code == 2
    assert "'pdf' is not one of 'html', 'md', 'json'" in done.said


def test_without_pygal_it_says_what_to_install(
    project: Project, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run-only installation has no library for plots; Markdown needs none."""
    monkeypatch.setitem(sys.modules, "pygal", None)
    write_recipe(project, "m", fake_recipe())
    done = ovrecipe("report", "m", cwd=project.root)
    assert done.code == 1
    assert "pip install pygal, or take --format md" in done.said


@pytest.mark.model
def test_the_real_model_has_a_page(
    smollm2_project: Project, ovrecipe: CommandLine, tmp_path: Path
) -> None:
    """Its figures are those of the manifests; nothing of this machine stands in it."""
    project = {"OVRECIPE_PROJECT": str(smollm2_project.root),
               "OVRECIPE_STORE": str(smollm2_project.store_dir)}  # fmt: skip
    page = tmp_path / "out" / "page.html"
    done = ovrecipe("report", "smollm2-135m", "-o", str(page), env=project, cwd=tmp_path)
    assert (done.code, done.out) == (0, ""), done.err
    text = page.read_text("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "3.13x smaller" in text
    assert "u4 in 30, u8 in 1 of 31 layers" in text
    assert str(smollm2_project.root) not in text
    found = ovrecipe("report", "smollm2-135m", "--format", "json", env=project, cwd=tmp_path)
    document = json.loads(found.out)
    states = {one["variant"]: one["state"] for one in document["variants"]}
    assert states == {
        "fp16": "accepted", "int8": "accepted", "int4": "accepted", "int4-npu": "not built",
    }  # fmt: skip
    [int4] = [one for one in document["variants"] if one["variant"] == "int4"]
    assert (document.keys(), int4.keys()) == (made().keys(), variant("int4", 1, 0.1).keys())
    assert 0 < int4["quality"]["mean_kl"] < 1
    assert "Paris" in int4["answer"]
    assert {made["stage"] for made in document["artifacts"]} >= {"source", "weights", "check"}
    markdown = ovrecipe("report", "smollm2-135m", "-f", "md", env=project, cwd=tmp_path)
    assert "| int4 | accepted | 85.8 MB, 3.13x smaller |" in markdown.out


@pytest.mark.model
@pytest.mark.parametrize("output", [".", "taken/page.html"])
def test_a_place_that_cannot_be_written_is_named(
    smollm2_project: Project, ovrecipe: CommandLine, tmp_path: Path, output: str
) -> None:
    """A folder, or below what is no folder."""
    (tmp_path / "taken").write_text("a file")
    project = {"OVRECIPE_PROJECT": str(smollm2_project.root),
               "OVRECIPE_STORE": str(smollm2_project.store_dir)}  # fmt: skip
    words = ("report", "smollm2-135m", "-f", "md", "-o", output)
    done = ovrecipe(*words, env=project, cwd=tmp_path)
    assert done.code == 12
    assert "cannot be written" in done.said


def test_plugins_that_made_something_are_to_be_installed_again() -> None:
    """With their versions; an editable install, which has none that pip knows, by its name."""
    by_version, by_sources = (
        Manifest.model_construct(
            created="2026-11-26",
            tools={"nncf": "3.4.0"},
            key={"passes": [{"compressor": {"distribution": name, "version": version}}]},
        )
        for name, version in (("own-budget", "1.2"), ("own-other", "sha256:0a"))
    )
    built_in = Manifest.model_construct(
        created="2026-11-25",
        tools={},
        key={"provider": {"distribution": "ovrecipe", "version": None}},
    )
    versions = _versions([by_version, by_sources, built_in])
    install, build, _ = _commands("m", "org/m", ["int4"], versions, measured=False)
    assert install.endswith(" nncf==3.4.0 own-budget==1.2 own-other")
    assert build == "ovrecipe build m:int4"
    carried = _commands("m", "dist:pydantic/m.gguf", ["int4"], versions, measured=False)
    assert carried[1] == f"pip install --no-deps pydantic=={package_version('pydantic')}"
