"""What is damaged gets no name: each damage has happened, was called built and checked, and ran."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.errors import GateError
from ovrecipe.measure.engines import Host, Ours
from ovrecipe.measure.figures import chosen_log_probabilities, gap
from ovrecipe.measure.models import Paged, logits_of
from ovrecipe.measure.reference import Reference
from ovrecipe.measure.subject import OURS, Subject
from ovrecipe.measure.verdict import MAX_AS_RUN_GAP
from ovrecipe.recipe.project import Project
from ovrecipe.run.artifact import find_artifact
from ovrecipe.run.load import load
from ovrecipe.store.views import view_target
from tests.build.making import write_recipe
from tests.twins import make_checkpoint

pytestmark = [pytest.mark.model, pytest.mark.slow]
PLUGIN = str(Path(__file__).with_name("damaging.py"))
DAMAGES = ("zeroed", "perturbed", "doubled", "with_nan", "swapped")


def damaging(how: str) -> dict[str, Any]:
    return {"compressor": "damaging", "options": {"how": how}}


def built(project: Project, *targets: str, **recipe: Any) -> list[Exception]:
    """Build the twin's targets; return what went wrong."""
    document = {"model": {"id": "./checkpoint"}, **recipe}
    write_recipe(project, "twin", document)
    context = BuildContext(project, plugin_options=(PLUGIN,), keep_going=True)
    named = [Target("twin", variant) for variant in targets]
    report = try_to_build(context, named, watch=Lines(io.StringIO()))
    return report.errors


def test_damaged_weights_are_refused_and_honest_ones_are_not(twin_project: Project) -> None:
    """Whatever was done to them, the figure says so; a name is for what is like its source."""
    variants = {f"int4-{how.replace('_', '-')}": damaging(how) for how in ("none", *DAMAGES)}
    errors = built(twin_project, *variants, variants=variants)
    assert len(errors) == len(DAMAGES)
    assert all(isinstance(error, GateError) for error in errors)
    assert all("mean_kl is" in str(error) for error in errors)
    named = {path.name for path in (twin_project.models_dir / "twin").iterdir()}
    assert named == {"int4-none"}


def test_a_checkpoint_with_nan_is_refused_in_every_precision(project: Project) -> None:
    """Compared with itself it would be right: neither is a number."""
    checkpoint = make_checkpoint(project.recipes_dir / "checkpoint", "llama")
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.0.mlp.up_proj.weight"][3, 4] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    variants: dict[str, dict[str, Any]] = {"fp16": {}, "int8": {}, "int4": {"group_size": 32}}
    errors = built(project, *variants, variants=variants)
    assert errors
    assert "not finite" in str(errors[0])
    assert not project.models_dir.exists()


def test_an_export_that_computes_something_else_is_refused(project: Project) -> None:
    """Positions that are ignored leave a model that runs, and answers otherwise."""
    checkpoint_dir = project.recipes_dir / "checkpoint"
    # With weights as small as usual, an untrained model hardly knows where a token stands.
    make_checkpoint(checkpoint_dir, "llama", initializer_range=0.2)
    model = {"id": "./checkpoint", "exporter": "without-positions"}
    [error, *_] = built(project, "fp16", model=model, variants={"fp16": {}})
    assert isinstance(error, GateError)
    assert "computes something else than the checkpoint: mean_kl is" in str(error)
    assert not project.models_dir.exists()


@pytest.mark.parametrize("converter", ["other-tokenizer", "other-template"])
def test_another_tokenizer_or_template_is_refused(project: Project, converter: str) -> None:
    """Either makes another text of what was asked."""
    make_checkpoint(project.recipes_dir / "checkpoint", "qwen2")
    error, *_ = built(project, "fp16", variants={"fp16": {}}, tokenizer={"converter": converter})
    assert isinstance(error, GateError)
    expected = "chat template" if converter == "other-template" else "comparisons failed"
    assert expected in str(error)
    assert not project.models_dir.exists()


def test_where_paged_attention_is_wrong_sdpa_is_chosen_and_used(project: Project) -> None:
    """A model with ALiBi answered nonsense and exit code 0; one of two ways is right."""
    make_checkpoint(project.recipes_dir / "checkpoint", "mpt")
    assert built(project, "fp16", variants={"fp16": {}}) == []
    model_dir = view_target(project.models_dir, "twin", "fp16")
    assert model_dir is not None
    context = BuildContext(project)
    artifact = find_artifact(project, context.plan("twin").recipe, "fp16")
    assert artifact.attention_backend() == "SDPA"
    key = context.plan("twin").key("reference")
    assert key is not None
    reference = Reference.load(context.store.artifact_dir(key))
    exactly = chosen_log_probabilities(reference, logits_of(model_dir, reference.tokens))
    assert gap(exactly, reference.chosen) < 0.01
    paged = Paged(model_dir).log_probabilities(reference.tokens)
    assert gap(paged, exactly) > MAX_AS_RUN_GAP
    with load("twin:fp16", project=project) as model:
        assert model.generate("Say it.", greedy=True, max_new_tokens=4).generated_tokens
    said: list[str] = []
    subject = Subject("twin:fp16", model_dir.name, "CPU", OURS, {}, str(model_dir))
    engine = Ours(subject, Host(project, context.plugins, said.append, 64))
    assert engine.throughput([[1, 2, 3]], 4) is None
    assert said == ["twin:fp16: no batches, for paged attention is wrong for it"]
