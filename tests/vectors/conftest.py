"""A project with a BERT, a cross-encoder and a Qwen3, built once."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.recipe.project import Project, find_project
from tests.build.making import write_recipe
from tests.vectors.making import make_bert, make_qwen3, write_sentence_files

INSTRUCTION = "find: "


@pytest.fixture(scope="session")
def vector_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The recipes `bert`, `cross` and `qwen3`; `bert:int4` is honest, and its recipe wants more."""
    root = tmp_path_factory.mktemp("vectors")
    recipes = root / "recipes"
    # Calm as trained models are: four bits move its embeddings little.
    make_bert(recipes / "bert-checkpoint", spread=0.05)
    prompts = {"prompts": {"query": INSTRUCTION, "passage": ""}}
    write_sentence_files(recipes / "bert-checkpoint", config_sentence_transformers=prompts)
    make_bert(recipes / "cross-checkpoint", labels=1)
    make_qwen3(recipes / "qwen3-checkpoint")
    project = find_project(root, {**os.environ, "OVRECIPE_STORE": str(root / "store")})
    variants = {"fp16": {}, "int8": {}}
    int4 = {"group_size": 16, "accept": {"cosine": 0.9999}}
    for name, more in {
        "bert": {"task": "text-embedding", "variants": {**variants, "int4": int4}},
        "cross": {"task": "text-rerank", "variants": variants},
        "qwen3": {
            "task": "text-embedding",
            "embedding": {"pooling": "last_token"},
            "variants": {"int8": {}},
        },
    }.items():
        write_recipe(project, name, {"model": {"id": f"./{name}-checkpoint"}, **more})
    context, said = BuildContext(project), io.StringIO()
    targets = [Target(name, v) for name in ("bert", "cross") for v in variants]
    try_to_build(context, [*targets, Target("qwen3", "int8")], watch=Lines(said)).check_success()
    # Under the names of the manual, from what is there by now.
    for ours, theirs in (("bert", "minilm"), ("cross", "my-reranker")):
        text = (recipes / f"{ours}.yaml").read_text("utf-8")
        (recipes / f"{theirs}.yaml").write_text(text, "utf-8")
        named = [Target(theirs, "int8")]
        try_to_build(BuildContext(project), named, watch=Lines(said)).check_success()
    report = try_to_build(BuildContext(project), [Target("bert", "int4")], watch=Lines(said))
    assert [type(error).__name__ for error in report.errors] == ["GateError"]
    return project


@pytest.fixture
def checkpoint_dir(tmp_path: Path) -> Path:
    """A checkpoint's folder with a configuration alone."""
    from tests.vectors.making import write

    write(tmp_path, "config.json", {"model_type": "bert", "max_position_embeddings": 512})
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 10**30})
    return tmp_path
