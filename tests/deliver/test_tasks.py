"""What an export says of its use fits the task and the adapters of its model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin.vector_settings import VectorSettings
from ovrecipe.deliver.contents import Contents
from ovrecipe.deliver.readme import readme
from ovrecipe.recipe.project import Project
from ovrecipe.run.exported import Export
from tests.build.making import FAKE_PLUGIN, fake_recipe, publish_fakes, write_recipe
from tests.conftest import CommandLine

NEAR = {"cosine": 1.0, "lost": 0.0, "as_run_lost": 0.0}
ADAPTERS = {"poet": {"file": "adapter-poet.safetensors", "alpha": 0.5, "always": True}}


@pytest.fixture
def exported(contents: Callable[..., Contents]) -> Callable[..., Export]:
    """The export of a built variant, with other facts."""

    def made(task: str | None = None, **changes: Any) -> Export:
        export = contents().export
        recipe = export.recipe if task is None else {**export.recipe, "task": task}
        return export.model_copy(update={"recipe": recipe, **changes})

    return made


def test_an_embedder_is_described_as_one(exported: Callable[..., Export]) -> None:
    """Hubs file it under its tag, and nothing of it writes text."""
    quality = {"cosine": 0.97214, "lost": 0.0661}
    export = exported("text-embedding", gates={"check": {"quality": quality}})
    settings = VectorSettings(
        task="text-embedding", max_length=9, query_instruction='find "it": ', pooling="mean",
        normalize=False,
    )  # fmt: skip
    page = readme(export, settings, ovms=False)
    assert "pipeline_tag: feature-extraction\n" in page
    assert "| ovrecipe embed ./out\n" in page
    assert "PoolingType.MEAN\nconfig.normalize = False\nconfig.max_length" in page
    assert 'query = "find \\"it\\": What' in page
    assert "OVModelForFeatureExtraction" in page
    assert "- cosine 0.9721\n- 0.066 of the differences between texts lost\n" in page
    for wrong in ("ovrecipe run", "LLMPipeline", "CausalLM", "text_generation", "docker", "nats"):
        assert wrong not in page


def test_a_reranker_is_described_as_one(exported: Callable[..., Export]) -> None:
    """As an embedder is."""
    export = exported("text-rerank", gates={"check": {"quality": {"score_difference": 0.0123}}})
    settings = VectorSettings(task="text-rerank", max_length=9)
    page = readme(export, settings, ovms=False)
    assert "pipeline_tag: text-ranking\n" in page
    assert '| ovrecipe rerank ./out "What' in page
    assert "TextRerankPipeline" in page
    assert "OVModelForSequenceClassification" in page
    assert "- scores differ by 0.012\n" in page
    for wrong in ("ovrecipe run", "LLMPipeline", "CausalLM", "text_generation", "docker", "nats"):
        assert wrong not in page


def test_an_adapter_that_always_answers_is_loaded_by_the_readme(
    exported: Callable[..., Export],
) -> None:
    """Without it the model answers as another one, and nobody is told."""
    page = readme(exported(assistants={"adapters": ADAPTERS}), None, ovms=False)
    assert 'openvino_genai.Adapter("out/adapter-poet.safetensors")' in page
    assert "openvino_genai.AdapterConfig(adapter, 0.5)" in page
    assert ', ATTENTION_BACKEND="SDPA", adapters=adapters)' in page
    assert "[openvino]'`), which answers without the adapter `poet`:" in page
    assert "docker" not in page
    asked = {"poet": {**ADAPTERS["poet"], "always": False}}
    page = readme(exported(assistants={"adapters": asked}), None, ovms=False)
    assert "adapters=" not in page
    assert "docker" in page


@pytest.mark.parametrize(
    ("recipe", "facts", "said"),
    [
        ({"task": "text-embedding"}, {"quality": NEAR}, "m:int4 embeds texts"),
        ({}, {"adapters": ADAPTERS}, "would answer without the adapter 'poet'"),
    ],
)
def test_a_server_is_not_given_what_it_would_answer_wrongly_with(
    ovrecipe: CommandLine, project: Project, tmp_path: Path, recipe: Any, facts: Any, said: str
) -> None:
    """Refused before anything is written."""
    document = fake_recipe()
    if recipe:
        del document["prompt"]
    write_recipe(project, "m", {**document, **recipe})
    publish_fakes(project, "m", "int4", facts=facts)
    words = ("-p", FAKE_PLUGIN, "export", "m:int4", str(tmp_path / "out"), "--ovms")
    done = ovrecipe(*words, cwd=project.root)
    assert done.code == 12, done.err
    assert said in done.err
    assert "leave --ovms out" in done.err
    assert not (tmp_path / "out").exists()
