"""The real model, exported: opened by those who never heard of ovrecipe, as its README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ovrecipe
from ovrecipe.build.context import BuildContext
from ovrecipe.build.run import Target
from ovrecipe.deliver.contents import contents_of
from ovrecipe.deliver.folder import write_folder
from ovrecipe.recipe.project import Project

pytestmark = pytest.mark.model

CAPITAL = "What is the capital of France?"


@pytest.fixture(scope="module")
def out(smollm2_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of smollm2-135m:int4, in a folder called `out`."""
    folder = tmp_path_factory.mktemp("delivered") / "out"
    made = contents_of(BuildContext(smollm2_project), Target("smollm2-135m", "int4"), ovms=True)
    env = {**os.environ, "OVRECIPE_CACHE": str(folder.parent / "cache")}
    write_folder(made, folder, env=env)
    return folder


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder of Python packages that has everything installed but ovrecipe."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in filter(None, map(Path, sys.path)):
        if folder.name == "site-packages":
            for path in folder.iterdir():
                if "ovrecipe" not in path.name and path.suffix != ".pth":
                    (packages / path.name).symlink_to(path)
    return packages


def run(code: str, packages: Path, folder: Path) -> str:
    """Run code that finds those packages and nothing else, beside the export."""
    begin = f"import sys\nsys.path.append({str(packages)!r})\n"
    check = "\nassert not any('ovrecipe' in name for name in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{begin}{code}{check}"],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("library", ["openvino_genai", "optimum.intel"])
def test_the_readme_of_an_export_is_true(out: Path, alone: Path, library: str) -> None:
    """Bare GenAI and optimum-intel answer, in a process that cannot find ovrecipe."""
    examples = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    [code] = [example for example in examples if library in example]
    assert "Paris" in run(code, alone, out)


def test_ovrecipe_opens_it_without_a_project(
    out: Path, smollm2_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer as from the project: prompt, parameters and attention came along."""
    target = "smollm2-135m:int4"
    with ovrecipe.load(target, project=smollm2_project) as model:
        expected = model.generate(CAPITAL, greedy=True).text
    monkeypatch.chdir("/")
    monkeypatch.setenv("OVRECIPE_CACHE", str(out.parent / "cache"))
    with ovrecipe.load(out) as model:
        assert model.generate(CAPITAL, greedy=True).text == expected
        assert model.chat().variants() == {}
