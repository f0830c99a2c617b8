"""docs/embeddings.md shows what works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovrecipe.measure.likeness import BROKEN_LAYER_LOST, BROKEN_LOST, MAX_AS_RUN_LOST
from ovrecipe.measure.readings import PAIRS, TEXTS
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import Project
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "embeddings.md").read_text("utf-8")


def test_the_recipe_is_one(tmp_path: Path) -> None:
    """A reader copies it."""
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "minilm.yaml"
    path.write_text(text, "utf-8")
    assert load_recipe_file(path).task == "text-embedding"


def test_the_limits_are_those_of_the_gates() -> None:
    """A manual with other numbers helps nobody who was refused."""
    numbers = (
        *(
            f"{limits[name]:g} ({shown})"
            for limits in (BROKEN_LOST, BROKEN_LAYER_LOST)
            for name, shown in (("fp16", "fp16"), ("int8", "int8"), ("int4", "four bits"))
        ),
        f"above {MAX_AS_RUN_LOST:g}",
    )
    assert [number for number in numbers if number not in PAGE] == []
    assert (len(TEXTS), len(PAIRS)) == (12, 18)


@pytest.mark.model
@pytest.mark.slow
def test_the_python_example_runs(
    vector_project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both tasks, from loading to answers."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(vector_project.root)
    monkeypatch.setenv("OVRECIPE_STORE", str(vector_project.store_dir))
    found: dict[str, object] = {}
    exec(example, found)
    assert len(found["documents"]) == 2  # type: ignore[arg-type]
    assert len(capsys.readouterr().out.splitlines()) == 2
