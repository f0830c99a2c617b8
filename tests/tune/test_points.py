"""The points of a search, as variants, and which of two is coarser."""

from __future__ import annotations

import pytest

from ovrecipe.build.tuning.points import Choices, points_of
from tests.tune.making import point, points, variant


def test_a_point_is_one_of_each_list() -> None:
    """Its name says its knobs, and its variant has them."""
    found = points(group_size=(32, -1), ratio=(0.8, 1.0), sym=(True,))
    names = ["int4-sym-g32-r0.8", "int4-sym-g32-r1", "int4-sym-row-r0.8", "int4-sym-row-r1"]
    assert [one.name for one in found] == names
    assert (found[2].variant.group_size, found[2].variant.ratio, found[2].variant.sym) == (
        -1,
        0.8,
        True,
    )


def test_what_is_not_listed_stays_as_the_variant_has_it() -> None:
    """A sweep changes what it names; NNCF's own values stand for what nobody said."""
    own = variant(
        group_size=64, sym=True, backup_mode="int8_sym", ignored_scope={"types": ["Gather"]}
    )
    [found] = points_of(own, Choices(ratio=(0.6,)))
    assert found.name == "int4-sym-g64-r0.6"
    assert found.variant.backup_mode == "int8_sym"
    assert found.variant.ignored_scope == own.ignored_scope
    [by_mode] = points_of(variant(mode="int4_sym"), Choices(ratio=(0.6,)))
    assert by_mode.knobs["sym"] is True
    [plain] = points_of(variant(), Choices())
    assert plain.knobs == {"group_size": 128, "ratio": 1.0, "sym": False}


@pytest.mark.parametrize(
    ("knobs", "kept"),
    [
        ({"ratio": 1.0}, set()),
        ({"ratio": 0.8}, {"dataset", "num_samples", "sensitivity_metric"}),
        ({"ratio": 1.0, "awq": True}, {"dataset", "num_samples"}),
        ({"ratio": 1.0, "scale_estimation": True}, {"dataset", "num_samples"}),
    ],
)
def test_data_goes_where_nothing_reads_it(knobs: dict[str, object], kept: set[str]) -> None:
    """A data set that is not used, and a metric at ratio 1, are refused by every build."""
    own = variant(
        ratio=0.6, awq=True, dataset="generated", num_samples=8,
        sensitivity_metric="max_activation_variance",
    )  # fmt: skip
    lists = {"awq": (False,), **{name: (value,) for name, value in knobs.items()}}
    [found] = points_of(own, Choices(**lists))
    assert found.variant.model_fields_set & {"dataset", "num_samples", "sensitivity_metric"} == kept


def test_what_is_no_knob_stays() -> None:
    """Limits and parameters of generation belong to the variant whatever its settings."""
    own = variant(accept={"same_top": 0.9}, generation={"top_k": 4}, optional=True, mode="int4_sym")
    [found] = points_of(own, Choices(sym=(False,)))
    assert (found.variant.accept, found.variant.generation) == (own.accept, own.generation)
    assert found.variant.mode is None


def test_a_budget_is_a_point_without_knobs() -> None:
    """Its compressor chooses them."""
    *_, found = points_of(variant(backup_mode="none"), Choices(bits_per_weight=(4.5,)))
    assert found.name == "int4-budget-4.5"
    assert found.variant.compressor == "budget"
    assert found.variant.backup_mode is None


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"group_size": 64, "ratio": 1.0}, {"group_size": 32, "ratio": 1.0}),
        ({"group_size": -1, "ratio": 0.8}, {"group_size": 128, "ratio": 0.8}),
        ({"group_size": 64, "ratio": 1.0}, {"group_size": 64, "ratio": 0.8}),
        ({"group_size": 64, "sym": True}, {"group_size": 64, "sym": False}),
        ({"group_size": 64, "sym": True, "ratio": 1.0}, {"group_size": 32, "ratio": 0.5}),
    ],
)
def test_larger_groups_more_int4_and_no_zero_point_are_coarser(
    one: dict[str, object], two: dict[str, object]
) -> None:
    """And never the other way round."""
    assert point(**one).is_coarser_than(point(**two))
    assert not point(**two).is_coarser_than(point(**one))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"group_size": 64, "ratio": 0.8}, {"group_size": 32, "ratio": 1.0}),
        ({"group_size": 64, "awq": True}, {"group_size": 32, "awq": False}),
        ({"group_size": 64}, {"group_size": 64}),
    ],
)
def test_what_is_finer_in_something_else_is_not_compared(
    one: dict[str, object], two: dict[str, object]
) -> None:
    """Nobody knows which is better without measuring."""
    assert not point(**one).is_coarser_than(point(**two))
    assert not point(**two).is_coarser_than(point(**one))
