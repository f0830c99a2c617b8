"""The gate that every variant passes before it gets its name."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ovrecipe.build.stages import stage_named
from ovrecipe.build.stages.check import answered
from ovrecipe.build.stages.stage import Job, StageContext
from ovrecipe.errors import GateError
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.testing import plugins_with
from tests.build.making import fake_recipe, write_recipe


class Model:
    """What `LLMPipeline` is to the gate, with an answer of the test's own."""

    def __init__(self, *, score: float = -1.5, tokens: tuple[int, ...] = (80, 105)) -> None:
        self.score = score
        self.tokens = tokens
        self.asked: list[dict[str, Any]] = []

    def get_tokenizer(self) -> Any:
        return self

    def encode(self, prompt: str, *, add_special_tokens: bool) -> tuple[str, bool]:
        return prompt, add_special_tokens

    def decode(self, tokens: Any) -> str:
        return "".join(map(chr, tokens))

    def generate(self, tokens: Any, **generation: Any) -> Any:
        self.asked.append({"tokens": tokens, **generation})
        return SimpleNamespace(scores=[self.score], tokens=[list(self.tokens)])


class Raises(Model):
    """A model that loads and does not run."""

    def generate(self, tokens: Any, **generation: Any) -> Any:
        raise RuntimeError("unsupported primitive")


def asked(model: Model) -> dict[str, Any]:
    return dict(answered(model, "Q: why?", add_special_tokens=True, target="m:int4"))


def test_a_model_that_answers_passes_with_its_answer_as_a_fact() -> None:
    """The manifest shows what it said; the prompt is the recipe's, never templated again."""
    model = Model()
    assert asked(model) == {"answer": "Pi", "log_probability": -1.5}
    sampled, greedy = model.asked
    assert (sampled["do_sample"], greedy["do_sample"]) == (True, False)
    for call in model.asked:
        assert call["tokens"] == ("Q: why?", True)
        assert call["apply_chat_template"] is False


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_numbers_are_refused(score: float) -> None:
    """The greedy answer of such a model looks like any other; only the probability tells."""
    with pytest.raises(GateError, match="m:int4: the model's logits are not finite") as caught:
        asked(Model(score=score))
    assert "another precision" in str(caught.value.remedy)


def test_a_model_that_says_nothing_is_refused() -> None:
    """It ends its answer before it has begun."""
    with pytest.raises(GateError, match="m:int4: the model wrote no token at all"):
        asked(Model(tokens=()))


def test_a_model_that_does_not_run_is_refused() -> None:
    """Some kernels are missed only when they are called."""
    with pytest.raises(GateError, match="does not generate: unsupported primitive"):
        asked(Raises())


@pytest.mark.model
@pytest.mark.parametrize("files", [{}, {"openvino_model.xml": "<net/>", "openvino_model.bin": ""}])
def test_a_directory_that_genai_does_not_open_is_refused(
    project: Project, tmp_path: Path, files: dict[str, str]
) -> None:
    """With GenAI itself: an error of the gate and not a crash of the stage."""
    write_recipe(project, "m", fake_recipe())
    model_dir = tmp_path / "assembled"
    model_dir.mkdir()
    (model_dir / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    for name, text in files.items():
        (model_dir / name).write_text(text)
    job = Job(
        recipe=load_recipe(project, "m"),
        variant="int4",
        inputs={"assemble": model_dir},
        output_dir=tmp_path / "output",
        pin={},
        plugin_options=(),
        store_dir=tmp_path / "store",
    )
    context = StageContext(plugins=plugins_with(), progress=lambda *_, **__: None, env={})
    with pytest.raises(GateError, match="OpenVINO GenAI does not open the model: "):
        stage_named("check").run(job, context)
