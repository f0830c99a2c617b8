"""Evaluators that a recipe names are gates of its variants."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.build.stages import stage_named
from ovrecipe.errors import GateError, OvrecipeError, PluginError, ProviderUnknown, RecipeInvalid
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import find_project
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.build.test_keys import changed, keys_of

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project

NAME = "smollm2-135m"
JUDGE = """
from ovrecipe import hookimpl
from ovrecipe.errors import GateError

class Judge:
    def evaluate(self, job):
        assert (job.base_dir / "openvino_model.xml").is_file()
        assert "<|im_start|>user\\nHow?" in job.render("How?")
        assert "Paris" in job.ask("What is the capital of France?", max_new_tokens=12)
        assert job.ask("Hi", do_sample=True, rng_seed=1, max_new_tokens=2)
        if job.variant == "int8":
            raise GateError("elegance is 3, below 5", remedy="write better weights")
        return {"elegance": 7} if job.variant == "int4" else "elegant"

@hookimpl
def providers():
    return {"evaluator": {"judge": Judge}}
"""


def judged(*evaluators: Any) -> dict[str, Any]:
    return fake_recipe(check={"evaluators": [*evaluators]})


def test_only_the_check_depends_on_evaluators(project: Project) -> None:
    """Another limit judges again; it compresses nothing again."""
    without = keys_of(project, fake_recipe())
    plain = keys_of(project, judged("divergence"))
    strict = keys_of(project, judged({"divergence": {"max_mean_kl": 0.1}}))
    gates = {"check:int4", "check:int4-other"}
    assert changed(without, plain) == changed(plain, strict) == gates


def test_an_option_that_is_written_out_with_its_default_changes_no_key(project: Project) -> None:
    plain = keys_of(project, judged("divergence"))
    assert not changed(plain, keys_of(project, judged({"divergence": {"max_new_tokens": 32}})))


def test_the_base_is_an_input_only_for_evaluators(project: Project) -> None:
    """A check without them must not build a base that was collected."""
    check = stage_named("check")
    found = {}
    for name, document in (("with", judged("divergence")), ("without", fake_recipe())):
        write_recipe(project, name, document)
        recipe = BuildContext(project, plugin_options=(FAKE_PLUGIN,)).plan(name).recipe
        found[name] = check.inputs(recipe, "int4")
    assert found == {
        "with": ("assemble", "conformance", "reference", "base"),
        "without": ("assemble", "conformance", "reference"),
    }


@pytest.mark.parametrize(
    ("evaluator", "error", "message"),
    [
        ("divergance", ProviderUnknown, "evaluator 'divergance'; perhaps you meant 'divergence'"),
        (
            {"divergence": {"max_kl": 1}},
            RecipeInvalid,
            r"m\.yaml:\d+:\d+: check\.evaluators\[0\]\.divergence\.max_kl: unknown .*_mean_kl'",
        ),
        ({"divergence": {"max_mean_kl": 0}}, RecipeInvalid, "max_mean_kl: .* greater than 0"),
    ],
)
def test_what_nobody_provides_and_what_it_does_not_take_is_refused(
    project: Project, evaluator: Any, error: type[OvrecipeError], message: str
) -> None:
    with pytest.raises(error, match=message):
        keys_of(project, judged(evaluator))


@pytest.mark.parametrize(
    "written", ["divergence", {"divergence": {}}, {"name": "divergence", "options": {}}]
)
def test_evaluators_may_be_written_as_filters_are(project: Project, written: Any) -> None:
    [spec] = load_recipe_file(write_recipe(project, "m", judged(written))).check.evaluators
    assert (spec.name, dict(spec.options)) == ("divergence", {})


@pytest.fixture
def context(smollm2_project: Project, tmp_path: Path) -> BuildContext:
    """A project of its own over the store in which the model is built already."""
    (tmp_path / "recipes").mkdir()
    shutil.copy(smollm2_project.recipes_dir / f"{NAME}.yaml", tmp_path / "recipes")
    # A plugin file counts by its content: what another session's judge said is asked again.
    (tmp_path / "judge.py").write_text(f"{JUDGE}\n# {tmp_path}\n")
    project = find_project(tmp_path, smollm2_project.env)
    return BuildContext(project, plugin_options=(str(tmp_path / "judge.py"),))


def judge(context: BuildContext, variant: str, evaluator: Any) -> tuple[list[str], Any]:
    """Build a variant; return the stages that ran, and what evaluators found out."""
    path = context.project.recipes_dir / f"{NAME}.yaml"
    document = yaml.safe_load(path.read_text())
    document["check"] = {"evaluators": [evaluator]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    report = try_to_build(context, [Target(NAME, variant)], watch=Lines(io.StringIO()))
    report.check_success()
    key = context.plan(NAME).key("check", variant)
    assert key is not None
    return [title for title, _ in report.ran], context.store.manifest(key).facts["evaluators"]


@pytest.mark.model
def test_a_model_that_passes_gets_its_name_and_keeps_the_facts(context: BuildContext) -> None:
    ran, found = judge(context, "int4", "judge")
    assert ran == [f"check {NAME}:int4"]
    assert found == [{"evaluator": "judge", "facts": {"elegance": 7}}]
    assert (context.project.models_dir / NAME / "int4").exists()


@pytest.mark.model
def test_a_model_that_fails_gets_no_name_and_the_message_names_the_evaluator(
    context: BuildContext,
) -> None:
    expected = f"check {NAME}:int8: evaluator 'judge': elegance is 3, below 5"
    with pytest.raises(GateError, match=expected) as caught:
        judge(context, "int8", "judge")
    assert caught.value.remedy == "write better weights"
    assert not (context.project.models_dir / NAME / "int8").exists()


@pytest.mark.model
def test_an_evaluator_that_answers_with_the_wrong_type_is_blamed(context: BuildContext) -> None:
    with pytest.raises(PluginError, match=r"'judge' of plugin 'judge' .* returned str"):
        judge(context, "fp16", "judge")
