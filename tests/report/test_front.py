"""Which variants are the best of their size."""

from __future__ import annotations

from ovrecipe.report.document import mark_front
from tests.report.making import variant


def front_of(*variants: dict[str, object]) -> list[object]:
    """Return the names of those on the front."""
    mark_front(list(variants))
    return [one["variant"] for one in variants if one["on_front"]]


def test_a_variant_that_is_larger_and_worse_is_not_on_the_front() -> None:
    """Nobody has a reason to take it."""
    best = variant("int8", 135, 0.004), variant("int4", 86, 0.37)
    assert front_of(*best, variant("int4-bad", 90, 0.5)) == ["int8", "int4"]


def test_what_was_refused_keeps_nobody_off_the_front() -> None:
    """It has no name, so it cannot be taken instead."""
    broken = variant("int4-small", 50, 0.1, state="refused")
    assert front_of(broken, variant("int4", 86, 0.37)) == ["int4"]


def test_equals_are_on_the_front_together() -> None:
    """Each is as good as the other."""
    assert front_of(variant("int4", 86, 0.37), variant("int4-b", 86, 0.37)) == ["int4", "int4-b"]


def test_logits_that_are_no_numbers_are_the_worst() -> None:
    """Their divergence is missing, which is not nought."""
    nan = variant("int4", 86, 0.1)
    del nan["quality"]["mean_kl"]
    assert front_of(nan, variant("int4-b", 86, 0.37)) == ["int4-b"]
