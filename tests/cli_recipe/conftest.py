"""A project in which a user stands."""

from __future__ import annotations

from pathlib import Path

import pytest

MINIMAL = "model: {id: org/name}\nvariants: {int8: {}, int4-npu: {optional: true}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with recipes/, which is the working directory."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "one.yaml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path
