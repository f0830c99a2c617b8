"""Shapes from headers, and what is refused because of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from ovrecipe.build.preflight import (
    Estimate,
    StageEstimate,
    check_disk,
    check_memory,
    check_shapes,
    container_available_bytes,
    estimate,
)
from ovrecipe.build.shapes import tensors, weight_shapes
from ovrecipe.errors import CheckpointIncomplete, PreflightError
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.recipe.compression import CompressionPass, Variant

Shapes = Mapping[str, tuple[int, ...]]


def write_file(path: Path, shapes: Shapes, *, cut: int = 0, dtype: str = "BF16") -> None:
    """Write a safetensors file of zeros, without the last `cut` bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, size = end, 2
        for each in shape:
            size *= each
        end += size
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    path.write_bytes((struct.pack("<Q", len(header)) + header + b"\0" * end)[: -cut or None])


def checkpoint(folder: Path, shapes: Shapes, model_type: str = "llama", **how: int) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    write_file(folder / "model.safetensors", shapes, **how)
    return folder


def test_matrices_come_with_out_and_in_channels(tmp_path: Path) -> None:
    """Vectors are no weights of a layer."""
    folder = checkpoint(tmp_path, {"b.weight": (4, 8), "a.bias": (4,)})
    assert weight_shapes(folder) == [WeightShape("b.weight", (4, 8), "bf16")]
    assert len(tensors(folder)) == 2


def test_conv1d_layers_of_gpt2_are_turned(tmp_path: Path) -> None:
    """They store (in, out); a group size must divide the former."""
    folder = checkpoint(tmp_path, {"h.0.attn.c_attn.weight": (8, 24)}, "gpt2")
    assert weight_shapes(folder)[0].shape == (24, 8)


def test_all_shards_are_read(tmp_path: Path) -> None:
    """The index names them."""
    write_file(tmp_path / "1.safetensors", {"a.weight": (2, 2)})
    write_file(tmp_path / "2.safetensors", {"b.weight": (2, 2)})
    index = {"weight_map": {"a.weight": "1.safetensors", "b.weight": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert [each.name for each in weight_shapes(tmp_path)] == ["a.weight", "b.weight"]
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(CheckpointIncomplete, match=r"checkpoint: 2\.safetensors is missing"):
        weight_shapes(tmp_path)


def test_a_file_that_was_cut_off_is_found_from_its_header(tmp_path: Path) -> None:
    """Else the export finds out after minutes, or reads zeros."""
    folder = checkpoint(tmp_path, {"a.weight": (4, 8)}, cut=1)
    with pytest.raises(CheckpointIncomplete, match=r"has \d+ bytes and its header promises"):
        weight_shapes(folder)


@pytest.mark.parametrize("content", [b"", b"\1\2", b"\xff" * 40, struct.pack("<Q", 2) + b"[]"])
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """A pointer file of git-lfs, or an error page saved as a model."""
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointIncomplete, match=r"model\.safetensors"):
        weight_shapes(tmp_path)


def test_a_checkpoint_without_safetensors_has_unknown_shapes(tmp_path: Path) -> None:
    """Nothing is refused on a guess."""
    assert weight_shapes(tmp_path) == []
    assert estimate(tmp_path, {"int8": Variant(precision="int8")}) == Estimate(())


def test_every_problem_of_every_variant_is_reported_at_once() -> None:
    """One run of the command, one list to mend."""
    shapes = [WeightShape("model.layers.0.mlp.up_proj.weight", (8, 40), "f16")]
    nncf = load_plugins(env={}).provider("compressor", "nncf", sample_recipe())
    passes = [
        ("int4", "int4", CompressionPass(group_size=64), nncf),
        ("int8", "int8", CompressionPass(), nncf),
        ("nf4", "nf4", CompressionPass(group_size=32), nncf),
    ]
    with pytest.raises(PreflightError, match=r"(?s)variants\.int4: group_size 64.*variants\.nf4:"):
        check_shapes(passes, shapes)
    check_shapes(passes[1:2], shapes)


def test_memory_is_refused_with_the_stage_and_both_numbers() -> None:
    """The user must see what is short, and by how much."""
    needed = Estimate(
        (
            StageEstimate("base", None, 0, 10**9),
            StageEstimate("weights", "int8", 0, 8 * 10**9),
        )
    )
    with pytest.raises(PreflightError, match=r"weights int8 needs about 8\.0 GB .* 2\.0 GB"):
        check_memory(needed, 2 * 10**9)
    check_memory(needed, 8 * 10**9)


def test_an_estimate_that_is_nearly_met_does_not_block() -> None:
    """It is an estimate; within a tenth the build may try."""
    check_memory(Estimate((StageEstimate("base", None, 0, 10**9),)), int(0.95 * 10**9))


def test_disk_is_refused_before_the_store_exists(tmp_path: Path) -> None:
    """The nearest folder that exists says how much is free."""
    needed = Estimate((StageEstimate("base", None, 10**18, 0),))
    with pytest.raises(PreflightError, match=r"needs about 1000000000\.0 GB of disk"):
        check_disk(needed, tmp_path / "not" / "yet")
    check_disk(Estimate(()), tmp_path)


def test_a_container_without_a_limit_is_the_machine(tmp_path: Path) -> None:
    """`max` means none."""
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("5\n", encoding="ascii")
    assert container_available_bytes(tmp_path) is None


def test_a_containers_cached_pages_count_as_free(tmp_path: Path) -> None:
    """Mapped model files fill them, and they make room."""
    (tmp_path / "memory.max").write_text("1000\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("900\n", encoding="ascii")
    stat = "anon 100\nactive_file 300\ninactive_file 400\n"
    (tmp_path / "memory.stat").write_text(stat, encoding="ascii")
    assert container_available_bytes(tmp_path) == 800
