"""The command line, called in this process as `ovrecipe` calls it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ovrecipe.cli.main import application, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINIMAL = "model: {id: org/name}\nvariants: {int8: {}, int4-npu: {optional: true}}\n"


class Outcome(NamedTuple):
    """What a user sees of a call."""

    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recipes/, which is the working directory."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "one.yaml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    for name in ("OVRECIPE_PROJECT", "OVRECIPE_STORE", "OVRECIPE_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture
def ovrecipe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command and return its outcome."""

    def run(*args: str) -> Outcome:
        try:
            code: object = exit_code_of(partial(application(), args=list(args)))
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        assert isinstance(code, int | None)
        return Outcome(code or 0, out, err)

    return run
