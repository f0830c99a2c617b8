"""The gate that every variant passes before it gets its name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.build.events import Lines
from ovrecipe.build.execute import ViewWork
from ovrecipe.build.run import Target, reasons
from ovrecipe.build.stages import stage_named
from ovrecipe.build.stages.stage import Job, StageContext
from ovrecipe.errors import GateError
from ovrecipe.measure.reference import Reference
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.run.artifact import find_artifact
from ovrecipe.store.manifest import Manifest
from ovrecipe.store.views import view_target
from ovrecipe.testing import plugins_with
from tests.build.making import PASSED, context_of, fake_recipe, publish_fakes, write_recipe
from tests.conftest import CommandLine


def judged(project: Project, quality: dict[str, Any], **recipe: Any) -> list[str]:
    """Return what a recipe has against an int4 variant that was found to be such."""
    write_recipe(project, "m", {**fake_recipe(), **recipe})
    facts = {"quality": {"information": 8.0, **quality}, "attention_backend": "PA"}
    return list(stage_named("check").objections(load_recipe(project, "m"), "int4", facts))


FINE = {"mean_kl": 0.4, "same_top": 0.7, "as_run_gap": 0.01}


def test_what_is_like_its_source_has_nothing_against_it(project: Project) -> None:
    """Honest INT4 of a small model, as measured."""
    assert judged(project, FINE) == []


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({"mean_kl": 2.0}, "mean_kl is 2, at most 1.6 is accepted"),
        ({"mean_kl": None}, "mean_kl is no number, at most 1.6 is accepted"),
        ({"as_run_gap": 0.5}, "as_run_gap is 0.5, at most 0.1 is accepted"),
        ({"as_run_gap": None}, "as_run_gap is no number, at most 0.1 is accepted"),
    ],
)
def test_what_is_broken_is_refused_without_any_limits(
    project: Project, quality: dict[str, Any], said: str
) -> None:
    """GenAI makes even odds of logits that are no numbers, and answers with exit code 0."""
    found = {name: value for name, value in {**FINE, **quality}.items() if value is not None}
    assert judged(project, found) == [said]


def test_a_recipe_accepts_less_and_a_variant_has_its_own_limits(project: Project) -> None:
    """Key by key, the variant's over the recipe's."""
    accept = {"mean_kl": 0.1, "same_top": 0.9}
    assert judged(project, FINE, accept=accept) == [
        "mean_kl is 0.4, at most 0.1 is accepted",
        "same_top is 0.7, at least 0.9 is accepted",
    ]
    variants = {"int4": {"compressor": "fake", "accept": {"mean_kl": 0.5}}}
    assert judged(project, FINE, accept=accept, variants=variants) == [
        "same_top is 0.7, at least 0.9 is accepted"
    ]


def test_a_name_does_not_stay_on_what_is_not_accepted_any_more(
    project: Project, ovrecipe: CommandLine
) -> None:
    """The artifact stays, `why`, `list` and `run` say so, and other limits give the name back."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    stored = view_target(project.models_dir, "m", "int4")
    accept = {"perplexity_ratio": 1.1}
    path = write_recipe(project, "m", {**fake_recipe(), "accept": accept})
    context = context_of(project)
    view = ViewWork(context.plan("m"), "int4")
    assert not view.is_up_to_date()
    with pytest.raises(GateError, match=r"m:int4: not accepted.*\n.*perplexity_ratio is no number"):
        view.do(Lines(io.StringIO()))
    assert view_target(project.models_dir, "m", "int4") is None
    rows = {row["stage"]: row for row in reasons(context, [Target("m", "int4")])}
    assert rows["build m:int4"]["reason"].startswith("not accepted: perplexity_ratio")
    recipe = load_recipe(project, "m")
    assert find_artifact(project, recipe, "int4", unaccepted=True).model_dir == stored
    ran = ovrecipe("run", "m:int4", "hello", cwd=project.root)
    assert ran.code == 10
    assert "was refused by a gate" in ran.said
    path.write_text(path.read_text().replace("perplexity_ratio: 1.1", "mean_kl: 0.1"))
    again = ViewWork(context_of(project).plan("m"), "int4")
    again.do(Lines(io.StringIO()))
    assert view_target(project.models_dir, "m", "int4") == stored
    assert not again.is_refused()


@pytest.mark.model
@pytest.mark.parametrize("files", [{}, {"openvino_model.xml": "<net/>", "openvino_model.bin": ""}])
def test_a_directory_that_does_not_open_is_refused(
    project: Project, tmp_path: Path, files: dict[str, str]
) -> None:
    """With OpenVINO itself: an error of the gate and not a crash of the stage."""
    write_recipe(project, "m", fake_recipe())
    inputs = {name: tmp_path / name for name in ("assemble", "reference")}
    for folder in inputs.values():
        folder.mkdir()
    for name, text in files.items():
        (inputs["assemble"] / name).write_text(text)
    places = np.zeros((1, 3), np.float32)
    tokens = np.array([[1, 2, 3, 4]])
    Reference(
        tokens, places[..., None].astype(np.int32), places[..., None], places, 2, "a test"
    ).save(inputs["reference"])
    manifest = Manifest(
        stage="reference", sha256="", key={}, files={}, created="", tools={},
        facts={**PASSED, "weights_bytes": 1}, peak_memory_bytes=None, seconds=None,
    )  # fmt: skip
    (inputs["reference"] / "manifest.json").write_text(manifest.model_dump_json(by_alias=True))
    job = Job(
        recipe=load_recipe(project, "m"),
        variant="int4",
        inputs=inputs,
        output_dir=tmp_path / "output",
        pin={},
        plugin_options=(),
        store_dir=tmp_path / "store",
    )
    context = StageContext(plugins=plugins_with(), progress=lambda *_, **__: None, env={})
    with pytest.raises(GateError, match="OpenVINO does not run the model: "):
        stage_named("check").run(job, context)
