"""A recipe with budgets, built by the command line on the real small model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.model
BUDGETS = {"int4-tight": {"max_size_mb": 84.0}, "int4-wide": {"bits_per_weight": 6.0}}


def ovrecipe(project: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a project, and do not fail for it."""
    env = {**os.environ, "OVRECIPE_STORE": str(project.store_dir), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ovrecipe", *arguments],
        cwd=project.root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def write_recipe(project: Any, name: str, budgets: dict[str, Any]) -> None:
    """Write a recipe that extends the bundled one."""
    variants = {
        name: {"compressor": "budget", "options": options} for name, options in budgets.items()
    }
    document = {"extends": "smollm2-135m", "variants": variants}
    (project.recipes_dir / f"{name}.yaml").write_text(json.dumps(document), encoding="utf-8")


def built(project: Any, variant: str) -> tuple[int, dict[str, Any]]:
    """Return the size of a variant's weights, and the facts of its pass."""
    directory = project.models_dir / "budgets" / variant
    assembled = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    weights = project.store_dir / "weights" / assembled["key"]["inputs"]["weights"]
    manifest = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    [facts] = manifest["facts"]["passes"]
    return (directory / "openvino_model.bin").stat().st_size, facts


def test_budgets_are_kept_and_the_model_answers(smollm2_project: Any) -> None:
    """The whole route: two budgets from one pass, checked by the graph's own gate, and asked."""
    write_recipe(smollm2_project, "budgets", BUDGETS)
    done = ovrecipe(smollm2_project, "build", *(f"budgets:{variant}" for variant in BUDGETS))
    assert done.returncode == 0, done.stderr
    tight, facts = built(smollm2_project, "int4-tight")
    assert 0.99 * 84_000_000 < tight <= 84_000_000
    wide, more = built(smollm2_project, "int4-wide")
    assert wide <= 6.0 * 134_479_872 / 8
    assert more["expected_divergence"] < facts["expected_divergence"]
    question = "What is the capital of France?"
    answer = ovrecipe(smollm2_project, "run", "budgets:int4-tight", question, "--greedy")
    assert "Paris" in answer.stdout


@pytest.mark.parametrize(
    ("options", "codes", "message"),
    [
        # 3 is the recipe's, 6 the preflight's, 7 the stage's: the first that can know.
        ({"max_size_mb": 0}, (3, 6), "options.max_size_mb: .*greater than 0"),
        ({}, (3, 6), "give either max_size_mb or bits_per_weight"),
        ({"max_size_mb": 60.0}, (6,), "at 4 bits the weights alone take 67.2 MB"),
        ({"max_size_mb": 67.5}, (7,), "max_size_mb: 67.5 is too small: the smallest possible are"),
    ],
)
def test_a_wrong_budget_is_refused_without_a_traceback(
    options: dict[str, Any], codes: tuple[int, ...], message: str, smollm2_project: Any
) -> None:
    """By the command line, with its own exit code."""
    write_recipe(smollm2_project, "wrong", {"int4-wrong": options})
    done = ovrecipe(smollm2_project, "build", "wrong:int4-wrong")
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert done.returncode in codes
