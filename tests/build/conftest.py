"""A pipe to an exporter that hangs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the exporter `hangs` says when it has begun; it ends when all its processes have."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setenv("FAKE_PIPE", str(path))
    return path
