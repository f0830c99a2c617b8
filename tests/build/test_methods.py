"""Every way to compress, through the whole route, in processes that cannot import torch."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.recipe.project import Project
from tests.build.making import write_recipe

pytestmark = [pytest.mark.model, pytest.mark.slow]
LOW: dict[str, Any] = {"sym": True, "group_size": 16}
CALIBRATED: dict[str, Any] = {**LOW, "dataset": "texts.txt", "num_samples": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "int4-awq": {**LOW, "awq": True},
    "int4-scale": {**CALIBRATED, "awq": True, "scale_estimation": True},
    "int4-gptq": {**CALIBRATED, "gptq": True},
    "int4-lora": {**CALIBRATED, "lora_correction": True},
    "int4-mixed": {
        **CALIBRATED, "ratio": 0.5, "sensitivity_metric": "max_activation_variance",
    },
    "int4-generated": {**CALIBRATED, "dataset": "generated", "scale_estimation": True},
    "nf4": {"group_size": 16},
    "int4-passes": {
        "passes": [{**LOW, "ignored_scope": {"patterns": [".*mlp.*"]}}, {"mode": "int8_asym"}],
    },
}  # fmt: skip


def test_every_method_builds_a_model_that_answers(twin_project: Project) -> None:
    """One checkpoint, one base, every kind of calibration; the check stage asks each model."""
    (twin_project.recipes_dir / "texts.txt").write_text(
        "".join(f"Sentence {n} of a short text about recipes and models.\n" for n in range(8))
    )
    write_recipe(twin_project, "m", {"model": {"id": "./checkpoint"}, "variants": VARIANTS})
    targets = [Target("m", variant) for variant in VARIANTS]
    context = BuildContext(twin_project, keep_going=True)
    report = try_to_build(context, targets, watch=Lines(io.StringIO()))
    report.check_success()
    checked = {title for title, _ in report.ran if title.startswith("check ")}
    assert checked == {f"check m:{variant}" for variant in VARIANTS}
