"""A recipe dropped into recipes/ for a model that nobody here has tried."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.recipe.project import Project
from ovrecipe.run.load import load
from tests.build.making import write_recipe
from tests.twins import ARCHITECTURES, make_checkpoint

pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_of_any_architecture_builds_and_answers(
    project: Project, tmp_path: Path, architecture: str
) -> None:
    """Only a recipe is written; the checkpoint is random, tiny and in a common dtype."""
    dtype = "bfloat16" if architecture in {"mistral", "gemma"} else "float16"
    # One of them lies where many users' models lie: behind a space and an accent.
    folder = tmp_path / ("my models é" if architecture == "llama" else "checkpoint")
    checkpoint_dir = make_checkpoint(folder, architecture, dtype=dtype)
    recipe = {
        "model": {"id": str(checkpoint_dir)},
        "variants": {"fp16": {}, "int8": {}, "int4": {"sym": True, "group_size": 16}},
    }
    write_recipe(project, "twin", recipe)
    variants = [Target("twin", variant) for variant in ("fp16", "int8", "int4")]
    said = io.StringIO()
    try_to_build(BuildContext(project), variants, watch=Lines(said)).check_success()
    for variant in variants:
        with load(str(variant), project=project) as model:
            result = model.generate("Say something.", greedy=True, max_new_tokens=8)
        assert result.generated_tokens > 0
