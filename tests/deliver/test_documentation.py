"""What docs/delivering.md says is what the code does."""

from __future__ import annotations

import re

import pytest

from ovrecipe.build.remote import WHOLE_AT_ONCE
from ovrecipe.recipe.defaults import VARIABLES
from ovrecipe.run.exported import CACHE_VARIABLE
from tests.conftest import REPOSITORY, CommandLine

TEXT = (REPOSITORY / "docs" / "delivering.md").read_text("utf-8")


@pytest.mark.parametrize("command", ["export", "push", "pull"])
def test_every_option_is_explained(ovrecipe: CommandLine, command: str) -> None:
    """An option that no page names is found by nobody."""
    shown = ovrecipe(command, "--help").out
    options = set(re.findall(r"--[a-z]+", shown)) - {"--help", "--json"}
    assert options
    assert not [option for option in options if option not in TEXT]


def test_every_variable_is_explained() -> None:
    """They are in no help."""
    assert CACHE_VARIABLE in TEXT
    assert VARIABLES["remote"] in TEXT
    assert "s3" in WHOLE_AT_ONCE


@pytest.mark.model
def test_the_python_example_answers(smollm2_project, tmp_path, monkeypatch) -> None:
    """It is copied."""
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target
    from ovrecipe.deliver.contents import contents_of
    from ovrecipe.deliver.folder import write_folder

    monkeypatch.setenv("OVRECIPE_CACHE", str(tmp_path / "cache"))
    made = contents_of(BuildContext(smollm2_project), Target("smollm2-135m", "int4"))
    write_folder(made, tmp_path / "out", env={"OVRECIPE_CACHE": str(tmp_path / "cache")})
    monkeypatch.chdir(tmp_path)
    [example] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(example, {})
