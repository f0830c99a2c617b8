"""Embedders and rerankers, built from random checkpoints, beside torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovrecipe as package
from ovrecipe.build.stages import route_of
from ovrecipe.build.stages.stage import Job, StageContext
from ovrecipe.build.stages.vectors.reference import rows
from ovrecipe.conformance.compare import check_conformance
from ovrecipe.conformance.encoding import compare_encoding
from ovrecipe.errors import (
    GateError,
    GenerationParameterRefused,
    PromptRefused,
    RecipeInvalid,
    RunError,
)
from ovrecipe.measure.readings import FILE, TEXTS, Readings
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.store.manifest import read_manifest
from ovrecipe.store.views import REFUSED
from ovrecipe.testing import plugins_with
from tests.conftest import CommandLine
from tests.vectors.conftest import INSTRUCTION

pytestmark = [pytest.mark.model, pytest.mark.slow]

QUERY = "What is the capital of France?"


def outputs(project: Project, name: str, texts: Sequence[tuple[str, ...]]) -> list[Any]:
    """Return what torch makes of each text or pair: the states of its tokens, or its logits."""
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    folder = project.recipes_dir / f"{name}-checkpoint"
    kind = AutoModelForSequenceClassification if name == "cross" else AutoModel
    model, tokenizer = kind.from_pretrained(folder).float(), AutoTokenizer.from_pretrained(folder)
    cut = {"truncation": True, "max_length": 64, "return_tensors": "pt"}
    with torch.inference_mode():
        return [model(**tokenizer(*text, **cut))[0][0].numpy() for text in texts]


def cosines(found: Any, expected: Any) -> Any:
    expected = expected / np.linalg.norm(expected, axis=-1, keepdims=True)
    return (np.array(found) * expected).sum(axis=-1)


def test_an_embedding_is_the_sources_own(vector_project: Project) -> None:
    """Pooling and length 1 are the checkpoint's files', and texts in a batch disturb none."""
    texts = [*TEXTS, *TEXTS[::-1]]
    with package.load("bert:fp16", project=vector_project, task="text-embedding") as model:
        found = model.embed(texts)
    states = outputs(vector_project, "bert", [(text,) for text in texts])
    expected = np.stack([tokens.mean(axis=0) for tokens in states])
    assert cosines(found, expected) == pytest.approx(1, abs=1e-4)
    assert np.linalg.norm(found, axis=-1) == pytest.approx(1, abs=1e-4)


def test_a_query_gets_the_instruction_of_queries(vector_project: Project) -> None:
    """Documents and queries lie in one space only if each is asked as in training."""
    with package.load("bert:fp16", project=vector_project, task="text-embedding") as model:
        [found], [plain] = model.embed([QUERY], query=True), model.embed([INSTRUCTION + QUERY])
        [document] = model.embed([QUERY])
    assert found == plain
    assert found != document


def test_a_decoder_embeds_by_its_last_token(vector_project: Project) -> None:
    """As Qwen3's embedding models do; shorter texts of a batch are padded behind their last one."""
    with package.load("qwen3", project=vector_project, task="text-embedding") as model:
        found = model.embed(TEXTS)
    states = outputs(vector_project, "qwen3", [(text,) for text in TEXTS])
    assert cosines(found, np.stack([tokens[-1] for tokens in states])).min() > 0.99


def test_a_score_is_the_sources_own_and_the_best_comes_first(vector_project: Project) -> None:
    """Types of tokens tell query and text apart, which a converted tokenizer easily loses."""
    texts = [*TEXTS, *TEXTS[:6]]
    # A CPU that has bf16 would compute in it.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    with package.load("cross:fp16", project=vector_project, task="text-rerank", **exact) as model:
        ranked = model.rerank(QUERY, texts)
    logits = outputs(vector_project, "cross", [(QUERY, text) for text in texts])
    expected = 1 / (1 + np.exp(-np.concatenate(logits)))
    found = np.array([one.score for one in sorted(ranked, key=lambda one: one.index)])
    assert found == pytest.approx(expected, abs=2e-3)
    assert [one.score for one in ranked] == sorted(found, reverse=True)


def test_what_its_recipe_does_not_accept_has_no_name(
    vector_project: Project, ovrecipe: CommandLine
) -> None:
    """It stays in the store with its figures, and opens for who insists."""
    models_dir = vector_project.models_dir
    assert not (models_dir / "bert" / "int4").exists()
    assert (models_dir / REFUSED / "bert" / "int4").exists()
    where = {"cwd": vector_project.root, "env": {"OVRECIPE_STORE": str(vector_project.store_dir)}}
    assert "cosine is 0.9" in ovrecipe("why", "bert:int4", **where).out
    told = ovrecipe("embed", "bert:int4", "--unaccepted", stdin=b"Paris\n", **where)
    assert "was refused by a gate" in told.said
    assert len(json.loads(told.out)["embedding"]) == 64


def test_a_line_in_is_a_line_out_in_order(vector_project: Project, ovrecipe: CommandLine) -> None:
    """Ids that came in go out, so vectors find their texts again."""
    lines = b'Paris\n{"text": "Berlin", "id": 7}\n' + b"weights\n" * 80
    where = {"cwd": vector_project.root, "env": {"OVRECIPE_STORE": str(vector_project.store_dir)}}
    done = ovrecipe("embed", "bert:int8", stdin=lines, **where)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["index"] for row in rows] == list(range(82))
    assert rows[1]["id"] == 7
    assert "embedded 82 texts" in done.said
    with package.load("bert:int8", project=vector_project, task="text-embedding") as model:
        # In the same company: CPUs that have bf16 compute in it, and a text alone differs by 3e-4.
        found = model.embed(["Paris", "Berlin", *["weights"] * 80])
    said = np.array([row["embedding"] for row in rows])
    assert said == pytest.approx(np.array(found), abs=1e-5)
    assert np.abs(said[0] - said[1]).max() > 3e-2


def test_texts_are_ranked_and_the_best_can_be_taken(
    vector_project: Project, ovrecipe: CommandLine
) -> None:
    """The order of the input tells a program which is which; a person wants the best."""
    where = {"cwd": vector_project.root, "env": {"OVRECIPE_STORE": str(vector_project.store_dir)}}
    lines = "\n".join(TEXTS[1:4]).encode()
    done = ovrecipe("rerank", "cross:int8", QUERY, stdin=lines, **where)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert sorted(row["rank"] for row in rows) == [1, 2, 3]
    best = ovrecipe("rerank", "cross:int8", QUERY, "--top", "1", stdin=lines, **where)
    [row] = map(json.loads, best.out.splitlines())
    assert row["rank"] == 1
    assert row["score"] == max(other["score"] for other in rows)
    assert row["text"] == TEXTS[1 + row["index"]]
    # What a line says besides is no answer, whatever it is called.
    lines = "\n".join(json.dumps({"text": text, "index": 900}) for text in TEXTS[1:4]).encode()
    again = ovrecipe("rerank", "cross:int8", QUERY, "--top", "1", stdin=lines, **where)
    assert json.loads(again.out) == row


def test_what_is_cut_off_is_told(vector_project: Project) -> None:
    """A vector of the beginning of a text looks like any other one."""
    said: list[str] = []
    with package.load("bert:int8", project=vector_project, announce=said.append) as model:
        assert model.embed(["Paris", "word " * 200]) != []
        assert model.embed([]) == []
        model.warm_up()
    [told] = said
    assert told.startswith("1 of 2 texts are longer than the 64 tokens that bert reads of each; ")
    with pytest.raises(RunError, match="was closed"):
        model.embed(["Paris"])


def test_what_is_no_list_of_texts_is_refused(vector_project: Project) -> None:
    """A single text would be read letter by letter."""
    with package.load("bert:int8", project=vector_project, task="text-embedding") as model:
        with pytest.raises(PromptRefused, match="a single text was given"):
            model.embed("Paris")
        with pytest.raises(PromptRefused, match="text 2 is empty"):
            model.embed(["Paris", " "])


def test_each_command_refuses_models_of_other_tasks(
    vector_project: Project, ovrecipe: CommandLine
) -> None:
    """By name, with the command that would do."""
    where = {"cwd": vector_project.root, "env": {"OVRECIPE_STORE": str(vector_project.store_dir)}}
    for words in (
        ("run", "bert:int8", "hello"),
        ("rerank", "bert:int8", "hello"),
        ("evaluate", "bert:int8"),
        ("bench", "bert:int8"),
        ("tune", "bert"),
    ):
        told = ovrecipe(*words, stdin=b"text\n", **where)
        assert told.code == 3, (words, told)
        assert "bert embeds texts (task: text-embedding)" in told.said
        assert "'ovrecipe embed bert'" in told.said
    with pytest.raises(RecipeInvalid, match="cross scores texts for a query"):
        package.load("cross", project=vector_project, task="text-embedding")
    with pytest.raises(GenerationParameterRefused, match="top_k: bert embeds texts"):
        package.load("bert:int8", project=vector_project, generation={"top_k": 1})


def test_list_sizes_and_report_know_such_models(
    vector_project: Project, ovrecipe: CommandLine
) -> None:
    """What is told of every model is told of these."""
    where = {"cwd": vector_project.root, "env": {"OVRECIPE_STORE": str(vector_project.store_dir)}}
    assert "bert" in ovrecipe("list", **where).out
    [row, *_] = json.loads(ovrecipe("sizes", "bert", "--json", **where).out)["variants"]
    assert row["quality"]["cosine"] > 0.999
    assert "cosine" in ovrecipe("sizes", "bert", **where).out
    report = ovrecipe("report", "bert", "--format", "md", **where)
    assert report.code == 0, report.err


def artifact_dir(project: Project, stage: str, made_for: str) -> Path:
    """Return the folder of what a stage made for a recipe."""
    found = (project.store_dir / stage).iterdir()
    return next(path for path in found if read_manifest(path).facts["made_for"] == made_for)


def referenced(project: Project, base_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Run the gate of a base IR of `bert`."""
    stage = next(one for one in route_of("text-embedding") if one.name == "reference")
    output_dir.mkdir()
    job = Job(
        recipe=load_recipe(project, "bert"),
        variant=None,
        inputs={"base": base_dir, "source": artifact_dir(project, "source", "bert")},
        output_dir=output_dir,
        pin={},
        plugin_options=(),
        store_dir=project.store_dir,
    )
    context = StageContext(plugins=plugins_with(), progress=lambda *_, **__: None, env={})
    return dict(stage.run(job, context))


def test_a_base_that_computes_something_else_is_refused(
    vector_project: Project, tmp_path: Path
) -> None:
    """Against what the checkpoint's own code said; where it said nothing, the IR is asked."""
    base_dir = shutil.copytree(artifact_dir(vector_project, "base", "bert"), tmp_path / "base")
    readings = Readings.load(base_dir)
    (base_dir / FILE).unlink()
    own = referenced(vector_project, base_dir, tmp_path / "own")
    assert own["by"] == "the base IR"
    asked = Readings.load(tmp_path / "own").outputs
    assert asked[1] == pytest.approx(readings.outputs[1], abs=1e-4)
    replace(readings, outputs=[tokens * 1.05 for tokens in readings.outputs]).save(base_dir)
    with pytest.raises(GateError, match="bert: the exported IR computes something else"):
        referenced(vector_project, base_dir, tmp_path / "other")
    labels = [np.array([0.5, 1.5], np.float32)]
    assert rows(labels)[0].shape == (1, 2)


def test_a_tokenizer_that_gives_other_ids_is_refused(
    vector_project: Project, tmp_path: Path
) -> None:
    """And one that cannot read a pair, for a reranker."""
    checkpoint_dir = vector_project.recipes_dir / "bert-checkpoint"
    made_dir = artifact_dir(vector_project, "tokenizer", "qwen3")
    tokenizer_dir = Path(shutil.copytree(made_dir, tmp_path / "tokenizer"))
    (tokenizer_dir / "tokenizer.json").unlink()
    shutil.copy(checkpoint_dir / "tokenizer.json", tokenizer_dir)
    compare = partial(
        compare_encoding, checkpoint_dir, tokenizer_dir, texts=TEXTS, trust_remote_code=False
    )
    report = compare(task="text-embedding")
    assert report.failures > report.cases / 2
    with pytest.raises(GateError, match=r"tokenizer: .* comparisons failed"):
        check_conformance(report)
    with pytest.raises(GateError, match="cannot open what was converted: Two input requested"):
        compare(task="text-rerank")


def test_the_manifest_has_the_figures(vector_project: Project) -> None:
    """Of the exact run and of GenAI's."""
    found = {}
    for check_dir in (vector_project.store_dir / "check").iterdir():
        facts = read_manifest(check_dir).facts
        found[facts["made_for"]] = facts["quality"]
    assert found["bert:fp16"]["lost"] < 1e-4
    assert found["cross:int8"].keys() == {
        *("lost", "layer_lost", "as_run_lost", "score_difference", "size_ratio")
    }
    assert all(quality["as_run_lost"] < 0.01 for quality in found.values())
