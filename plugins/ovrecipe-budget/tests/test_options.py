"""What a recipe can ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ovrecipe_budget import BudgetCompressor
from ovrecipe_budget.options import Options
from pydantic import ValidationError

from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks.roles import WeightShape
from ovrecipe.recipe.schema import Recipe
from ovrecipe.testing import compression_job

SHAPES = [
    WeightShape("embed_tokens.weight", (32_000, 1024), "f16"),
    WeightShape("lm_head.weight", (32_000, 1024), "f16"),
    WeightShape("layers.0.weight", (1024, 1024), "f16"),
]


def problems(precision: str = "int4", shapes: list[WeightShape] = SHAPES, **fields: Any) -> str:
    """Return what is refused before anything heavy starts."""
    fields = {"compressor": "budget", "options": {"max_size_mb": 40.0}, **fields}
    job = compression_job(Path("base"), Path("out"), **fields)
    return "\n".join(BudgetCompressor().problems(job.compression, precision, shapes))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "neither is given"),
        ({"max_size_mb": 90, "bits_per_weight": 5}, "both are given"),
        ({"max_size_mb": 0}, "greater than 0"),
        ({"max_size_mb": -1}, "greater than 0"),
        ({"bits_per_weight": 0}, "greater than 0"),
        ({"bits_per_weight": -4.5}, "greater than 0"),
        ({"max_size_mb": float("inf")}, "finite number"),
        ({"max_size_mb": float("nan")}, "finite number|greater than 0"),
        ({"max_size_mb": "90"}, "valid number"),
        ({"max_size_mb": True}, "valid number"),
        ({"max_size": 90}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_say_no_budget_are_refused(given: dict[str, Any], message: str) -> None:
    """Exactly one positive number of the right name."""
    with pytest.raises(ValidationError, match=message):
        Options.model_validate(given)


def test_a_budget_is_bytes_of_the_file() -> None:
    """Megabytes are 10**6 bytes, as `ovrecipe sizes` prints them; bits are of all weights."""
    assert Options(max_size_mb=85.5).limit_bytes(weights=1) == 85_500_000
    assert Options(bits_per_weight=4.5).limit_bytes(weights=1_000) == 562


def test_a_possible_budget_has_no_problems() -> None:
    """Before the export too, when no shapes are known."""
    assert problems() == ""
    assert problems(shapes=[]) == ""


def test_a_budget_below_four_bits_is_refused_before_the_export() -> None:
    """An hour of exporting and measuring would end in the same sentence."""
    message = problems(options={"max_size_mb": 10.0})
    assert "max_size_mb: 10 is too small: at 4 bits the weights alone take 16.9 MB" in message


def test_a_head_that_may_be_tied_counts_once() -> None:
    """Some checkpoints store the same matrix twice; the IR has it once."""
    assert problems(options={"max_size_mb": 17.0}) == ""


def test_the_precision_is_the_lowest_that_is_used() -> None:
    """An int8 variant does not get 4-bit layers, so its smallest size is larger."""
    assert "at 8 bits the weights alone take 33.8 MB" in problems("int8", options={
        "max_size_mb": 17.0
    })  # fmt: skip


def test_other_precisions_are_refused() -> None:
    """Nothing is silently dropped."""
    assert "budget makes int8 and int4 variants, not nf4" in problems("nf4")


@pytest.mark.parametrize(
    "knob",
    [{"group_size": 64}, {"ratio": 0.8}, {"sym": True}, {"awq": True}, {"dataset": "generated"},
     {"ignored_scope": {"types": ["Gather"]}}],
)  # fmt: skip
def test_knobs_of_nncf_are_refused(knob: dict[str, Any]) -> None:
    """The budget chooses groups and layers; a knob beside it would be ignored."""
    [name] = knob
    assert f"{name}: 'compressor: budget' chooses this itself" in problems(**knob)


def test_wrong_options_are_named_before_the_build(
    ovrecipe_plugins: Callable[..., Any], ovrecipe_recipe: Recipe
) -> None:
    """Ovrecipe says it at their place, in its own words, before it asks for anything else."""
    provided = ovrecipe_plugins(compressor={"mine": BudgetCompressor}).provider(
        "compressor", "mine", ovrecipe_recipe
    )
    loc = ("variants", "int4", "options")
    with pytest.raises(RecipeInvalid, match=r"int4\.options\.max_size_mb: must be greater than 0"):
        provided.options({"max_size_mb": 0.0}, loc=loc, recipe=ovrecipe_recipe)
    with pytest.raises(RecipeInvalid, match=r"variants\.int4\.options: give either"):
        provided.options({}, loc=loc, recipe=ovrecipe_recipe)
