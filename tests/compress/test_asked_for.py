"""Honest settings pass the comparison with what was asked for, on models of the recipes' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.build.adopted import adopt
from ovrecipe.build.requested import undone
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.stored import read_stored
from ovrecipe.testing import compression_job
from tests.compress.conftest import export
from tests.twins import make_checkpoint

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]
#: As the bundled recipes have them, with groups that fit 64 channels.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "half": {"sym": False, "group_size": 32, "ratio": 0.5},
    "most": {"sym": True, "group_size": 16, "ratio": 0.8},
    "all": {"sym": True, "group_size": 64, "ratio": 1.0},
    "npu": {"sym": True, "group_size": -1, "ratio": 1.0},
    "ends": {"sym": False, "group_size": 32, "all_layers": True},
    "kept": {"sym": False, "group_size": 32, "backup_mode": "none"},
}


@pytest.fixture(scope="module", params=["gpt_neox", "phi", "qwen2"])
def other_base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base IR of one architecture; qwen2's embeddings are its last layer too."""
    folder = tmp_path_factory.mktemp(request.param)
    return export(make_checkpoint(folder / "checkpoint", request.param), folder / "base")


def test_honest_settings_pass_on_every_architecture(other_base: Path, tmp_path: Path) -> None:
    """What is read from the graph must not depend on how a model names and ties its layers."""
    before = read_stored(other_base)
    for name, knobs in SETTINGS.items():
        (tmp_path / name).mkdir()
        job = compression_job(other_base, tmp_path / name, **knobs)
        applied = NncfCompressor().compress(job)["applied"]
        assert isinstance(applied, list)
        found = undone(
            job.compression, "int4", before, read_stored(tmp_path / name), list(map(str, applied))
        )
        assert [*found] == [], name
        ask_back(tmp_path / name, knobs)


def ask_back(folder: Path, knobs: Mapping[str, Any]) -> None:
    """The same knobs are read back from what NNCF noted."""
    found = adopt(folder, "org/model")
    assert (found.precision, found.knobs) == ("int4", {"ratio": 1.0, **knobs})
