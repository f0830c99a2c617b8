"""What NNCF computes once: scores of weights for a base, models that round them for a pass."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin import nncf
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.nncf_once import FILE_NAME
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import CompressionPass

# NNCF and OpenVINO warn about their own code.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IR of six matrices, each with other weights."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    random = np.random.default_rng(4)
    node = given = ops.parameter([1, 160], ov.Type.f32, name="input")
    for number in range(6):
        weight = random.standard_normal((160, 160)) * random.uniform(0.1, 4, (160, 1))
        constant = ops.constant(weight.astype(np.float32), name=f"layer{number}.weight")
        node = ops.matmul(node, constant, transpose_a=False, transpose_b=True, name=f"l{number}")
    folder = tmp_path_factory.mktemp("base")
    ov.save_model(ov.Model([node], [given]), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_text("{}")
    return folder


def compressed(base_dir: Path, output_dir: Path, cache_dir: Path | None, **knobs: Any) -> bytes:
    """Compress the base; return the bytes."""
    output_dir.mkdir()
    job = CompressionJob(
        input_dir=knobs.pop("input_dir", base_dir),
        base_dir=base_dir,
        output_dir=output_dir,
        compression=CompressionPass.model_validate({"group_size": 16, "ratio": 0.5, **knobs}),
        precision="int4",
        recipe=sample_recipe(),
        options=None,
        progress=lambda *_, **__: None,
        cache_dir=cache_dir,
    )
    NncfCompressor().compress(job)
    return (output_dir / "openvino_model.bin").read_bytes()


@pytest.mark.parametrize(
    "knobs",
    [{}, {"mode": "int8_asym"}, {"mode": "int8_sym"}, {"sym": True, "ratio": 1.0}, {"mode": "nf4"}],
)
def test_models_that_round_weights_are_compiled_once(
    base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knobs: dict[str, Any]
) -> None:
    """One for a mode, not one for each of six matrices; the weights are NNCF's own, to the bit."""
    from nncf.openvino.optimized_functions import models

    compiled: list[int] = []
    own = models._compile_ov_model

    def counted(*args: Any, **kwargs: Any) -> Any:
        compiled.append(1)
        return own(*args, **kwargs)

    monkeypatch.setattr(models, "_compile_ov_model", counted)
    if knobs.get("mode", "").startswith("int8"):
        knobs = {**knobs, "group_size": None, "ratio": None}
    mine = compressed(base_dir, tmp_path / "mine", None, **knobs)
    used, compiled[:] = len(compiled), []
    with monkeypatch.context() as patch:
        patch.setattr(nncf, "compiled_once", nullcontext)
        assert compressed(base_dir, tmp_path / "nncf", None, **knobs) == mine
    assert used < len(compiled)
    assert used <= 4


def test_remembered_scores_choose_the_same_weights(base_dir: Path, tmp_path: Path) -> None:
    """Byte for byte, for other group sizes and ratios too."""
    cache_dir = tmp_path / "cache"
    compressed(base_dir, tmp_path / "first", cache_dir)
    known = json.loads((cache_dir / FILE_NAME).read_text())
    assert len({*known.values()}) == len(known) >= 5
    for number, knobs in enumerate(({"ratio": 0.8}, {"group_size": 32}, {"sym": True})):
        mine = compressed(base_dir, tmp_path / f"mine-{number}", cache_dir, **knobs)
        assert mine == compressed(base_dir, tmp_path / f"nncf-{number}", None, **knobs)


def test_scores_that_are_known_are_not_computed_again(base_dir: Path, tmp_path: Path) -> None:
    """Others in the file would choose other weights: it is what counts."""
    cache_dir = tmp_path / "cache"
    right = compressed(base_dir, tmp_path / "first", cache_dir)
    path = cache_dir / FILE_NAME
    path.write_text(
        json.dumps({name: -score for name, score in json.loads(path.read_text()).items()})
    )
    assert compressed(base_dir, tmp_path / "second", cache_dir) != right


@pytest.mark.parametrize("content", ["", "[1]", '{"weight": "1"}', "{"])
def test_a_damaged_file_is_written_anew(base_dir: Path, tmp_path: Path, content: str) -> None:
    """Somebody's disk was full when it was written."""
    (tmp_path / "cache").mkdir()
    path = tmp_path / "cache" / FILE_NAME
    path.write_text(content)
    compressed(base_dir, tmp_path / "out", tmp_path / "cache")
    assert len(json.loads(path.read_text())) >= 5
    assert [found.name for found in path.parent.iterdir()] == [FILE_NAME]


def test_a_later_pass_remembers_nothing(base_dir: Path, tmp_path: Path) -> None:
    """It reads what the pass before wrote, where a weight of that name is another one."""
    other_dir = tmp_path / "pass-1"
    compressed(base_dir, other_dir, None, ignored_scope={"names": ["l0", "l1", "l2"]})
    cache_dir = tmp_path / "cache"
    compressed(base_dir, tmp_path / "out", cache_dir, input_dir=other_dir)
    assert not cache_dir.exists()
