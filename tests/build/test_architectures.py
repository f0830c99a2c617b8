"""A recipe dropped into recipes/ for a model that nobody here has tried."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.build.toolchains import Toolchains
from ovrecipe.builtin.transformers_lines import TOOLCHAINS
from ovrecipe.errors import GenerationParameterRefused, RunError, ToolchainError
from ovrecipe.measure.attention import lost_window
from ovrecipe.measure.models import EXACTLY, OPENED, Stepped
from ovrecipe.measure.reference import read_prompts
from ovrecipe.recipe.project import Project
from ovrecipe.run.artifact import STEPS, find_artifact
from ovrecipe.run.load import load, load_engine
from ovrecipe.testing.tiny import agreed, make_tiny, torch_answers
from tests.build.making import write_recipe
from tests.conftest import REPOSITORY, CommandLine
from tests.sources.requests import checkpoint_files
from tests.twins import make_checkpoint

pytestmark = pytest.mark.slow
PREFLIGHT = 6


def built(project: Project, checkpoint_dir: Path, variants: dict[str, Any]) -> list[Target]:
    """Drop a recipe for a checkpoint, and nothing else, and build its variants."""
    recipe = {
        "model": {"id": str(checkpoint_dir)},
        "prompt": {"template": "{instruction}"},
        "variants": variants,
    }
    write_recipe(project, "twin", recipe)
    targets = [Target("twin", variant) for variant in variants]
    try_to_build(BuildContext(project), targets, watch=Lines(io.StringIO())).check_success()
    return targets


@pytest.mark.model
@pytest.mark.parametrize("architecture", ["llama", "phi", "qwen2"])
def test_a_checkpoint_of_any_architecture_builds_and_answers(
    project: Project, tmp_path: Path, architecture: str
) -> None:
    """Only a recipe is written; the checkpoint is random, tiny and in a common dtype."""
    dtype = "bfloat16" if architecture == "qwen2" else "float16"
    # One of them lies where many users' models lie: behind a space and an accent.
    folder = tmp_path / ("my models é" if architecture == "llama" else "checkpoint")
    checkpoint_dir = make_checkpoint(folder, architecture, dtype=dtype)
    variants = {"fp16": {}, "int8": {}, "int4": {"sym": True, "group_size": 16}}
    for variant in built(project, checkpoint_dir, variants):
        assert answers(variant, project)


@pytest.mark.model
@pytest.mark.parametrize(
    ("architecture", "backend", "lost"),
    [
        # A window that paged attention takes over, with experts; one that it loses; a state beside
        # attention; the decoder of what has an encoder; what optimum-intel exports only once its
        # bounds are mended, with layers that share keys. ALiBi is in test_damage.
        ("gpt_oss", "PA", None),
        ("gpt_neo", "SDPA", "loses the window of attention, which this model has beyond 16 tokens"),
        ("granitemoehybrid", "PA", None),
        ("bart", "PA", None),
        ("gemma4_text", "PA", None),
    ],
)
def test_twelve_tokens_are_those_of_torch_through_the_attention_that_was_chosen(
    project: Project,
    tmp_path: Path,
    smollm2_checkpoint: Path,
    architecture: str,
    backend: str,
    lost: str | None,
) -> None:
    """One of each kind of the table in docs/architectures.md, whose rest a benchmark tries.

    What is `lost` beyond texts of ten tokens, shorter than the window, the graph tells.
    """
    checkpoint_dir = make_tiny(tmp_path / "checkpoint", architecture, smollm2_checkpoint)
    built(project, checkpoint_dir, {"fp16": {}})
    plan = BuildContext(project).plan("twin")
    base_key = plan.key("base")
    assert base_key is not None
    assert lost_window(plan.context.store.artifact_dir(base_key), 10) == lost
    artifact = find_artifact(project, plan.recipe, "fp16")
    assert artifact.attention_backend() == backend
    opened = OPENED[backend](artifact.model_dir, EXACTLY)
    prompts = read_prompts(checkpoint_dir, trust_remote_code=False)[:2]
    found = opened.answers(np.array(prompts, np.int64), 12, ignore_eos=True)
    expected = torch_answers(checkpoint_dir, prompts, 12)
    for answer, likely in zip(found, expected, strict=True):
        same, compared = agreed(answer, likely)
        assert same == compared > 4


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"model_type": "qwem3"},
            "no text generation with the architecture 'qwem3'.* knows: qwen3.*would need an",
        ),
        (
            {
                "model_type": "marian",
                "is_encoder_decoder": True,
                "architectures": ["MarianMTModel"],
            },
            "is MarianMTModel, .* decoder alone.* never sees what is asked.*OVModelForSeq2SeqLM",
        ),
        (
            {"model_type": "deepseek_v3"},
            "deepseek_v3 cannot be built: .* own code .*optimum-intel#1608",
        ),
    ],
)
def test_an_architecture_that_cannot_be_exported_is_refused_before_it_is_loaded(
    ovrecipe: CommandLine, project: Project, config: dict[str, Any], said: str
) -> None:
    """The export would fail after half a minute of imports, or worse, write a wrong model."""
    folder = project.recipes_dir / "checkpoint"
    folder.mkdir()
    files = checkpoint_files()
    files["config.json"] = json.dumps(config).encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_recipe(project, "m", {"model": {"id": "./checkpoint"}, "variants": {"fp16": {}}})
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == PREFLIGHT
    assert re.search(said, done.said), done.said
    assert not list(project.store_dir.glob(".stage-base*"))


def answers(variant: Target, project: Project) -> bool:
    """Return whether a built variant says something."""
    with load(str(variant), project=project) as model:
        result = model.generate("Say something.", greedy=True, max_new_tokens=8)
    return bool(result.generated_tokens)


@pytest.fixture(scope="module")
def line() -> Callable[[str], str]:
    """Return the interpreter of a line of transformers, made if a package index is reached."""
    toolchains = Toolchains.of({**os.environ, "PIP_RETRIES": "0"})

    def python(name: str) -> str:
        toolchain = next(toolchain for toolchain in TOOLCHAINS if toolchain.name == name)
        try:
            toolchains.make(toolchain)
        except ToolchainError as error:
            pytest.skip(f"{name} cannot be made here: {error.message.splitlines()[-1]}")
        return str(toolchains.python(toolchain))

    return python


def make_tiny_with(python: str, folder: Path, name: str, tokenizer_dir: Path) -> Path:
    """Make a tiny checkpoint with the transformers of another interpreter."""
    code = "from pathlib import Path as P; from ovrecipe.testing.tiny import make_tiny; "
    code += f"make_tiny(P({str(folder)!r}), {name!r}, P({str(tokenizer_dir)!r}))"
    subprocess.run([python, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
    return folder


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("tf-4.57", "gemma2"),
        ("tf-4.57", "gemma3_text"),
        ("tf-4.57", "llama4_text"),
        ("tf-5.0", "gemma3n_text"),
        ("tf-5.2", "qwen3_5_text"),
        ("tf-5.4", "lfm2_moe"),
        ("tf-5.10", "gemma4_unified_text"),
    ],
)
def test_an_architecture_that_this_transformers_does_not_export_builds_in_a_toolchain(
    project: Project,
    tmp_path: Path,
    line: Callable[[str], str],
    name: str,
    architecture: str,
    smollm2_checkpoint: Path,
) -> None:
    """Dropped in as any other, through every gate, and offline once the toolchain is made."""
    checkpoint_dir = make_tiny_with(
        line(name), tmp_path / "checkpoint", architecture, smollm2_checkpoint
    )
    recipe = {"model": {"id": str(checkpoint_dir)}, "variants": {"int8": {}}}
    write_recipe(project, "twin", recipe)
    said, variant = io.StringIO(), Target("twin", "int8")
    try_to_build(BuildContext(project), [variant], watch=Lines(said)).check_success()
    assert re.search(f"{architecture} needs transformers at .*{name}", said.getvalue())
    assert answers(variant, project)


@pytest.mark.model
def test_a_model_without_attention_answers_token_by_token(
    project: Project, tmp_path: Path, line: Callable[[str], str], smollm2_checkpoint: Path
) -> None:
    """GenAI runs none; what ovrecipe runs instead says what torch says, and refuses the rest."""
    checkpoint_dir = make_tiny_with(
        line("tf-4.57"), tmp_path / "checkpoint", "mamba", smollm2_checkpoint
    )
    recipe = {
        "model": {"id": str(checkpoint_dir), "toolchain": "tf-4.57"},
        "prompt": {"template": "{instruction}"},
        "variants": {"fp16": {}},
    }
    write_recipe(project, "twin", recipe)
    variant = Target("twin", "fp16")
    try_to_build(BuildContext(project), [variant], watch=Lines(io.StringIO())).check_success()
    artifact = find_artifact(project, BuildContext(project).plan("twin").recipe, "fp16")
    assert artifact.attention_backend() == STEPS
    opened = Stepped(artifact.model_dir, EXACTLY)
    prompts = read_prompts(checkpoint_dir, trust_remote_code=False)[:2]
    found = opened.answers(np.array(prompts, np.int64), 12, ignore_eos=True)
    for answer, likely in zip(found, torch_answers(checkpoint_dir, prompts, 12), strict=True):
        same, compared = agreed(answer, likely)
        assert same == compared > 4
    with load(str(variant), project=project) as model:
        sampled = [model.generate("Say.", rng_seed=3, temperature=1.5).text for _ in range(2)]
        assert sampled[0] == sampled[1] != model.generate("Say.", greedy=True).text
        with pytest.raises(GenerationParameterRefused, match="num_beams: OpenVINO GenAI runs"):
            model.generate("Say.", num_beams=2)
    with pytest.raises(RunError, match="can answer one prompt at a time only"):
        load_engine(str(variant), project=project)
