"""Group sizes against channels, from names and shapes alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.nncf_rules import valid_group_sizes, without_groups
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.recipe.compression import CompressionPass

SMOLLM2 = [
    WeightShape("model.embed_tokens.weight", (49152, 576), "f16"),
    WeightShape("model.layers.0.self_attn.q_proj.weight", (576, 576), "f16"),
    WeightShape("model.layers.0.mlp.down_proj.weight", (576, 1536), "f16"),
]


def problems(
    precision: str = "int4", shapes: list[WeightShape] | None = None, **knobs: Any
) -> list[str]:
    compression = CompressionPass.model_validate(knobs)
    return list(NncfCompressor().problems(compression, precision, shapes or SMOLLM2))


def test_a_group_size_that_divides_nothing_is_told_with_those_that_fit() -> None:
    """The default 128 of optimum-cli does not divide 576; the user needs weight, size, way out."""
    [line] = problems()
    assert "group_size 128 does not divide" in line
    assert "model.layers.0.self_attn.q_proj.weight (576 channels)" in line
    assert "down_proj" not in line
    assert "-1, 64, 32, 16" in line
    assert "group_size_fallback: adjust" in line


@pytest.mark.parametrize(
    "knobs",
    [
        {"group_size": 64},
        {"group_size": -1},
        {"group_size_fallback": "adjust"},
        {"group_size_fallback": "ignore"},
        {"ignored_scope": {"patterns": [r".*self_attn.*"]}},
        {"ignored_scope": {"types": ["MatMul"]}},
        {"mode": "mxfp4"},
    ],
)
def test_what_nncf_would_take_is_not_refused(knobs: dict[str, Any]) -> None:
    """A refusal that is wrong blocks a user for nothing."""
    assert problems(**knobs) == []


def test_a_convolution_has_no_groups() -> None:
    """Layers with a state have one over a few tokens, and no group size divides those."""
    convolution = WeightShape("model.layers.0.mamba.conv1d.weight", (160, 1, 4), "bf16")
    assert problems(shapes=[*SMOLLM2, convolution], group_size=64) == []


def test_how_fast_states_fade_is_no_layers_weight() -> None:
    """Mamba's `A_log` has two dimensions, of which the last is the 16 states of a channel."""
    fading = WeightShape("backbone.layers.0.mixer.A_log", (1536, 16), "f32")
    assert problems(shapes=[*SMOLLM2, fading], group_size=64) == []


@pytest.mark.parametrize(("fallback", "refused"), [(None, False), ("error", True)])
def test_fewer_channels_than_any_group_has_are_no_problem(
    fallback: str | None, *, refused: bool
) -> None:
    """Gemma 3n mixes four streams: no group size fits, and the user could only give up groups."""
    mixing = WeightShape("model.layers.0.altup.correction_coefs.weight", (4, 4), "bf16")
    found = problems(shapes=[*SMOLLM2, mixing], group_size=64, group_size_fallback=fallback)
    assert bool(found) is refused


def test_only_what_has_no_groups_is_left_out() -> None:
    """A weight of 24 channels has groups: which, or that it keeps more bits, is for the user."""
    refusal = 'Failed nodes:\n\t"rotary/MatMul" (channel size: 1)'
    assert without_groups(CompressionPass(), refusal) == ["rotary/MatMul"]
    assert not without_groups(CompressionPass(), f'{refusal}\n\t"mlp" (channel size: 24)')
    assert not without_groups(CompressionPass(group_size_fallback="error"), refusal)
    assert not without_groups(CompressionPass(), "another message")


def test_int8_has_no_groups() -> None:
    """Per channel, whatever the channels."""
    assert problems("int8") == []


def test_a_name_in_the_ignored_scope_is_the_irs_own() -> None:
    """Users copy names from NNCF's message or from the XML."""
    node = "__module.model.layers.0.self_attn.q_proj/ov_ext::linear/MatMul"
    assert problems(ignored_scope={"names": [node]}) == []


@pytest.mark.parametrize(("all_layers", "refused"), [(False, False), (True, True)])
def test_the_embedding_counts_only_with_all_layers(all_layers: bool, refused: bool) -> None:
    """NNCF keeps embedding and last layer at the backup precision by default."""
    shapes = [
        WeightShape("gpt_neox.embed_in.weight", (100, 40), "f16"),
        WeightShape("embed_out.weight", (100, 40), "f16"),
        WeightShape("gpt_neox.layers.0.mlp.dense_h_to_4h.weight", (64, 128), "f16"),
    ]
    assert bool(problems(shapes=shapes, all_layers=all_layers)) is refused


def test_below_ratio_one_only_a_certain_failure_is_refused() -> None:
    """NNCF chooses; a few odd weights may end at the backup precision, most of them cannot."""
    few = [
        WeightShape("a.weight", (10, 100), "f16"),
        WeightShape("b.weight", (1000, 128), "f16"),
    ]
    assert problems(shapes=few, ratio=0.8) == []
    assert problems(shapes=few, ratio=1.0)
    assert problems(ratio=0.8)


def test_without_shapes_there_is_nothing_to_object_to() -> None:
    """The checkpoint may not be here yet."""
    assert list(NncfCompressor().problems(CompressionPass(), "int4", [])) == []


@given(st.lists(st.integers(1, 20000), min_size=1))
def test_every_suggested_group_size_divides_all_channels(channels: list[int]) -> None:
    """A suggestion that fails in turn would be worse than none."""
    shapes = [WeightShape(f"{n}.weight", (8, width), "f16") for n, width in enumerate(channels)]
    sizes = valid_group_sizes(shapes)
    assert sizes[0] == -1
    assert all(width % size == 0 for width in channels for size in sizes[1:])
