"""A recipe dropped into recipes/ for a model that nobody here has tried."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.build.toolchains import Toolchains
from ovrecipe.builtin.transformers_lines import TOOLCHAINS
from ovrecipe.errors import ToolchainError
from ovrecipe.recipe.project import Project
from ovrecipe.run.load import load
from tests.build.making import write_recipe
from tests.conftest import REPOSITORY
from tests.twins import ARCHITECTURES, make_checkpoint

TF_457 = next(toolchain for toolchain in TOOLCHAINS if toolchain.name == "tf-4.57")
pytestmark = [pytest.mark.model, pytest.mark.slow]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_of_any_architecture_builds_and_answers(
    project: Project, tmp_path: Path, architecture: str
) -> None:
    """Only a recipe is written; the checkpoint is random, tiny and in a common dtype."""
    dtype = "bfloat16" if architecture == "mistral" else "float16"
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
        assert answers(variant, project)


def answers(variant: Target, project: Project) -> bool:
    """Return whether a built variant says something."""
    with load(str(variant), project=project) as model:
        result = model.generate("Say something.", greedy=True, max_new_tokens=8)
    return bool(result.generated_tokens)


@pytest.fixture(scope="module")
def toolchains() -> Toolchains:
    """The toolchains of the tests, among which tf-4.57 is made, if a package index is reached."""
    found = Toolchains.of({**os.environ, "PIP_RETRIES": "0"})
    try:
        found.make(TF_457)
    except ToolchainError as error:
        pytest.skip(f"tf-4.57 cannot be made here: {error.message.splitlines()[-1]}")
    return found


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text", "llama4_text"])
def test_an_architecture_that_this_transformers_does_not_export_builds_in_a_toolchain(
    project: Project, tmp_path: Path, toolchains: Toolchains, architecture: str
) -> None:
    """Dropped in as any other, through every gate, and offline once the toolchain is made."""
    checkpoint_dir = tmp_path / "checkpoint"
    code = f"import tests.twins as t; t.make_checkpoint(t.Path({str(checkpoint_dir)!r}), "
    code += f"{architecture!r}, dtype='bfloat16')"
    python = toolchains.python(TF_457)
    subprocess.run([python, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
    recipe = {"model": {"id": str(checkpoint_dir)}, "variants": {"int8": {}}}
    write_recipe(project, "twin", recipe)
    said, variant = io.StringIO(), Target("twin", "int8")
    try_to_build(BuildContext(project), [variant], watch=Lines(said)).check_success()
    assert f"{architecture} needs transformers at most " in said.getvalue()
    assert answers(variant, project)
