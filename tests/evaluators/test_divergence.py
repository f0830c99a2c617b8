"""`divergence` tells compressed weights from those of the base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.errors import GateError, StageError
from ovrecipe.hooks.roles import EvaluationJob
from ovrecipe.measure.divergence import DivergenceEvaluator, DivergenceOptions
from ovrecipe.run.prompt import rendered

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project

NAME = "smollm2-135m"


def job(project: Project, variant: str, base_dir: Path | None = None, **options: Any) -> Any:
    context = BuildContext(project)
    plan = context.plan(NAME)
    keys = {name: plan.key(name, variant) for name in ("assemble", "base")}
    dirs = {name: context.store.artifact_dir(key) for name, key in keys.items() if key is not None}
    return EvaluationJob(
        model_dir=dirs["assemble"],
        base_dir=base_dir or dirs["base"],
        recipe=plan.recipe,
        variant=variant,
        options=DivergenceOptions(**options),
        render=lambda prompt: rendered(dirs["assemble"], prompt),
        ask=lambda question: "",
        progress=lambda message, done=None, total=None: None,
    )


@pytest.mark.model
def test_fewer_bits_diverge_more(smollm2_project: Project) -> None:
    """FP16 is the base but for rounding, which is what makes the figure one of the weights."""
    found = {
        variant: DivergenceEvaluator().evaluate(job(smollm2_project, variant, max_new_tokens=6))
        for variant in ("fp16", "int4")
    }
    means = {variant: float(str(facts["mean_kl"])) for variant, facts in found.items()}
    assert means["fp16"] < 0.001
    assert 0.01 < means["int4"] < 5
    assert found["fp16"]["same_top"] == 1.0
    assert found["int4"]["tokens"] == found["fp16"]["tokens"]


@pytest.mark.model
def test_a_divergence_above_the_limit_is_refused_with_both_numbers(
    smollm2_project: Project,
) -> None:
    expected = r"mean_kl is 0\.\d+, above max_mean_kl 0\.0001"
    with pytest.raises(GateError, match=expected):
        DivergenceEvaluator().evaluate(
            job(smollm2_project, "int4", max_mean_kl=0.0001, max_new_tokens=2)
        )


@pytest.mark.model
def test_a_base_that_cannot_be_read_is_an_error_of_the_stage(
    smollm2_project: Project, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="measuring the divergence: RuntimeError"):
        DivergenceEvaluator().evaluate(job(smollm2_project, "int4", base_dir=tmp_path))
