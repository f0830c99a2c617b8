"""Shapes from headers, and what is refused because of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from ovrecipe.build.preflight import check_disk, check_memory, matrices, tensors
from ovrecipe.build.stages import base, weights
from ovrecipe.errors import CheckpointIncomplete, PreflightError
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.plugins import load_plugins
from ovrecipe.hooks.roles import Estimate, WeightShape
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.schema import Recipe
from ovrecipe.testing.checks import plugins_with

if TYPE_CHECKING:
    from ovrecipe.build.execute import Work

Shapes = Mapping[str, tuple[int, ...]]


def write_file(path: Path, shapes: Shapes, *, cut: int = 0, dtype: str = "BF16") -> None:
    """Write a safetensors file of zeros, without the last `cut` bytes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, size = end, 2
        for length in shape:
            size *= length
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
    assert matrices(folder) == [WeightShape("b.weight", (4, 8), "bf16")]
    assert len(tensors(folder)) == 2


def test_conv1d_layers_of_gpt2_are_turned(tmp_path: Path) -> None:
    """They store (in, out); a group size must divide the former."""
    folder = checkpoint(tmp_path, {"h.0.attn.c_attn.weight": (8, 24)}, "gpt2")
    assert matrices(folder)[0].shape == (24, 8)


def test_all_shards_are_read(tmp_path: Path) -> None:
    """The index names them."""
    write_file(tmp_path / "1.safetensors", {"a.weight": (2, 2)})
    write_file(tmp_path / "2.safetensors", {"b.weight": (2, 2)})
    index = {"weight_map": {"a.weight": "1.safetensors", "b.weight": "2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert [matrix.name for matrix in matrices(tmp_path)] == ["a.weight", "b.weight"]
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(CheckpointIncomplete, match=r"checkpoint: 2\.safetensors is missing"):
        matrices(tmp_path)


def test_a_file_that_was_cut_off_is_found_from_its_header(tmp_path: Path) -> None:
    """Else the export finds out after minutes, or reads zeros."""
    folder = checkpoint(tmp_path, {"a.weight": (4, 8)}, cut=1)
    with pytest.raises(CheckpointIncomplete, match=r"has \d+ bytes and its header promises"):
        matrices(folder)


@pytest.mark.parametrize("content", [b"", b"\1\2", b"\xff" * 40, struct.pack("<Q", 2) + b"[]"])
def test_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    """A pointer file of git-lfs, or an error page saved as a model."""
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointIncomplete, match=r"model\.safetensors"):
        matrices(tmp_path)


def test_a_checkpoint_without_safetensors_has_unknown_shapes(tmp_path: Path) -> None:
    """Nothing is refused on a guess."""
    assert matrices(tmp_path) == []
    unknown = work_on({"int8": {}}, "int8", [])
    assert base.estimate(unknown) is None
    assert weights.estimate(unknown) is None


class Exporter:
    """Does not say what it needs."""

    def export(self, job: Any) -> None: ...


class Compressor:
    """Objects to everything; needs what it says, if it says anything."""

    def __init__(self, said: Estimate | None) -> None:
        if said is not None:
            self.estimate = lambda compression, precision, tensors: said

    def compress(self, job: Any) -> None: ...

    def problems(self, compression: Any, precision: str, shapes: Any) -> list[str]:
        return [f"{precision} of {len(shapes)} weights"]


def work_on(
    variants: dict[str, Any], variant: str, shapes: list[WeightShape], said: Estimate | None = None
) -> Work:
    """Return the work on a variant of a recipe whose checkpoint has these shapes."""
    document = {"name": "m", "path": Path("m.yaml"), "model": {"id": "x"}, "variants": variants}
    recipe = Recipe.model_validate(document)
    plugins = plugins_with(compressor={"said": Compressor(said)}, exporter={"mute": Exporter()})
    names = {"exporter": "mute", "compressor": "said"}
    plan = SimpleNamespace(
        recipe=recipe, provider=lambda role, _: plugins.provider(role, names[role], recipe)
    )
    known = {"tensors": lambda: shapes, "matrices": lambda: shapes}
    return cast("Work", SimpleNamespace(plan=plan, variant=variant, **known))


SHAPES = [WeightShape("a.weight", (1000, 1000), "bf16")]


def test_what_a_compressor_objects_to_is_said_with_the_variant() -> None:
    """One line for each pass, so that one run of the command is one list to mend."""
    variants = {"int4": {"passes": [{"mode": "int4_sym"}, {"mode": "int8_asym"}]}}
    line = "variants.int4: int4 of 1 weights"
    assert weights.problems(work_on(variants, "int4", SHAPES)) == [line, line]


def test_a_compressor_is_asked_what_it_needs() -> None:
    """Nobody else knows; of several passes the results lie beside each other."""
    said = Estimate(disk_bytes=3, memory_bytes=5)
    variants = {"int4": {"passes": [{"mode": "int4_sym"}, {"mode": "int8_asym"}]}, "int8": {}}
    assert weights.estimate(work_on(variants, "int8", SHAPES, said)) == said
    assert weights.estimate(work_on(variants, "int4", SHAPES, said)) == Estimate(6, 5)


@pytest.mark.parametrize(
    ("variant", "bits"), [("fp16", 16), ("int8", 8), ("int4", 4), ("nf4", 4), ("mxfp8_e4m3", 8)]
)
def test_without_an_answer_the_bits_of_the_precision_are_taken(variant: str, bits: int) -> None:
    """A plugin that says nothing is judged all the same, with room to spare."""
    found = weights.estimate(work_on({variant: {}}, variant, SHAPES))
    size_bytes = int(1.25 * bits / 8 * 10**6)
    assert found == Estimate(disk_bytes=size_bytes, memory_bytes=size_bytes + 10**9)
    export = base.estimate(work_on({variant: {}}, variant, SHAPES))
    assert export == Estimate(disk_bytes=2 * 10**6, memory_bytes=2 * 10**6 + 10**9)


def test_a_group_size_that_fits_no_channel_is_one_of_nncfs_problems() -> None:
    """The built-in compressor knows its own rules."""
    nncf = load_plugins(env={}).provider("compressor", "nncf", sample_recipe()).provider
    shapes = [WeightShape("model.layers.0.mlp.up_proj.weight", (8, 40), "f16")]
    assert "group_size 64" in nncf.problems(CompressionPass(group_size=64), "int4", shapes)[0]
    assert not nncf.problems(CompressionPass(), "int8", shapes)


def test_memory_is_refused_with_the_stage_and_both_numbers() -> None:
    """The user must see what is short, and by how much."""
    needed = {"base m": Estimate(0, 10**9), "weights m:int8": Estimate(0, 8 * 10**9)}
    expected = r"weights m:int8 needs about 8\.00 GB .* 2\.00 GB"
    with pytest.raises(PreflightError, match=expected):
        check_memory(needed, 2 * 10**9)
    check_memory(needed, 8 * 10**9)


def test_an_estimate_that_is_nearly_met_does_not_block() -> None:
    """It is an estimate; within a tenth the build may try."""
    check_memory({"base m": Estimate(0, 10**9)}, int(0.95 * 10**9))


def test_disk_is_refused_before_the_store_exists(tmp_path: Path) -> None:
    """The nearest folder that exists says how much is free."""
    needed = {"base m": Estimate(disk_bytes=10**18, memory_bytes=0)}
    with pytest.raises(PreflightError, match=r"needs about 1000000000\.00 GB of disk"):
        check_disk(needed, tmp_path / "not" / "yet")
    check_disk({}, tmp_path)
