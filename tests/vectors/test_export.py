"""Embedders and rerankers, exported: what their README says is what ovrecipe computes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

import ovrecipe as package
from ovrecipe.build.context import BuildContext
from ovrecipe.build.run import Target
from ovrecipe.deliver.contents import contents_of
from ovrecipe.deliver.folder import write_folder
from ovrecipe.deliver.uses import ASKED, TEXTS
from ovrecipe.recipe.project import Project
from tests.conftest import CommandLine

pytestmark = [pytest.mark.model, pytest.mark.slow]


def expected(model: Any) -> list[float]:
    """Return what an export's README prints: how near each text is to what is asked."""
    if isinstance(model, package.Reranker):
        ranked = model.rerank(ASKED, TEXTS)
        return [one.score for one in sorted(ranked, key=lambda one: one.index)]
    [query], documents = model.embed([ASKED], query=True), model.embed(TEXTS)
    return [sum(a * b for a, b in zip(query, text, strict=True)) for text in documents]


@pytest.mark.parametrize("target", ["bert:int8", "cross:int8", "qwen3:int8"])
def test_the_readme_of_an_export_is_true(
    vector_project: Project,
    ovrecipe: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
) -> None:
    """Bare GenAI and optimum-intel read the texts in the same way, and so does the command."""
    cache = {"OVRECIPE_CACHE": str(tmp_path / "cache")}
    made = contents_of(BuildContext(vector_project), Target(*target.split(":")))
    write_folder(made, tmp_path / "out", env={**os.environ, **cache})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(*next(iter(cache.items())))
    with package.load(tmp_path / "out") as model:
        wanted = expected(model)
    page = (tmp_path / "out" / "README.md").read_text()
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(example, {})
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found == pytest.approx(wanted, abs=5e-3), example
    [[command, query], *_] = re.findall(
        r"\| ovrecipe (\w+) \./out(?: \"(.*)\")?$", page, re.MULTILINE
    )
    done = ovrecipe(
        command, "./out", *filter(None, [query]), stdin=TEXTS[0].encode(), cwd=tmp_path, env=cache
    )
    assert done.code == 0, done.err
    assert {"embedding", "score"} & json.loads(done.out).keys()
