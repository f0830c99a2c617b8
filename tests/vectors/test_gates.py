"""The gates of models that write nothing, without a build."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.build.stages import STAGES, route_of
from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.builtin.vector_settings import VectorSettings
from ovrecipe.cli.vector_commands import Line, read_lines
from ovrecipe.errors import ArtifactCorrupt, GateError, PromptRefused, RecipeInvalid, StageError
from ovrecipe.hooks.roles import ExportJob
from ovrecipe.measure.likeness import lost, pooled, quality_of, scores, vector_limits
from ovrecipe.measure.readings import Readings, ReadingsTaken
from ovrecipe.measure.verdict import exceeded
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.recipe.schema import Accept
from tests.build.making import context_of, fake_recipe, write_recipe
from tests.vectors.making import write

RANDOM = np.random.default_rng(20)
VECTORS = RANDOM.normal(size=(12, 8)).astype(np.float32)


def test_lost_is_none_of_the_source_and_all_of_a_constant() -> None:
    """Whatever all the vectors have in common."""
    for shift in (0, 100):
        source = VECTORS + shift
        assert lost(source, source) == 0
        assert lost(source, np.broadcast_to(source.mean(axis=0), source.shape)) == pytest.approx(1)
    assert math.isinf(lost(VECTORS, np.full_like(VECTORS, np.nan)))
    assert math.isinf(lost(np.ones_like(VECTORS), VECTORS))


@pytest.mark.parametrize(("pooling", "row"), [("cls", 0), ("last_token", -1)])
def test_pooling_takes_the_token_that_it_names(pooling: Any, row: int) -> None:
    """Of length 1, as cosines want it."""
    settings = VectorSettings(task="text-embedding", max_length=9, pooling=pooling)
    [found] = pooled([VECTORS], settings)
    assert found == pytest.approx(VECTORS[row] / np.linalg.norm(VECTORS[row]))


def test_a_score_is_the_logistic_of_its_label() -> None:
    """As GenAI and sentence-transformers have it."""
    settings = VectorSettings(task="text-rerank", max_length=9)
    found = scores([np.array([0.0]), np.array([20.0])], settings)
    assert found == pytest.approx(np.array([[0.5], [1]]))


def test_a_recipe_tightens_the_limits_and_cannot_loosen_them() -> None:
    """What is broken in any case is refused whatever is accepted."""
    own = quality_of("text-embedding", VECTORS, VECTORS)
    quality = {**own, "layer_lost": 0.0, "as_run_lost": 0.0}
    limits = vector_limits(Accept(cosine=0.5), "int4")
    assert list(exceeded(quality, limits)) == []
    told = [str(one) for one in exceeded({"cosine": 0.4, "lost": 0.3}, limits)]
    assert told == [
        "cosine is 0.4, at least 0.5 is accepted",
        "lost is 0.3, at most 0.2 is accepted",
        "layer_lost is no number, at most 0.7 is accepted",
        "as_run_lost is no number, at most 0.05 is accepted",
    ]


def test_readings_come_back_as_they_were(tmp_path: Path) -> None:
    """The source is asked once, and compared with for ever."""
    written = Readings([{"input_ids": [1, 2]}], [VECTORS], 64, "a test")
    written.save(tmp_path)
    read = Readings.load(tmp_path)
    assert (read.inputs, read.max_length, read.by) == (written.inputs, 64, "a test")
    assert (read.outputs[0] == VECTORS).all()
    (tmp_path / "readings.npz").write_bytes(b"PK")
    with pytest.raises(ArtifactCorrupt, match=r"readings\.npz"):
        Readings.load(tmp_path)


def test_states_that_are_no_numbers_end_the_export(checkpoint_dir: Path) -> None:
    """Every gate behind it would compare with them."""
    taken = ReadingsTaken("text-embedding", checkpoint_dir, trust_remote_code=False)
    assert taken.reference("nobody") is None
    with pytest.raises(StageError, match="are not finite"):
        taken.take(np.array([[math.nan]]))


def test_every_task_has_the_same_stages_in_the_same_order() -> None:
    """Graph, `why` and gc know them by name."""
    names = [stage.name for stage in STAGES]
    for task in ("text-generation", "text-embedding", "text-rerank"):
        route = route_of(task)  # type: ignore[arg-type]
        assert [stage.name for stage in route] == names
        assert [stage.is_gate for stage in route] == [stage.is_gate for stage in STAGES]
        assert [stage.publishes for stage in route] == [stage.publishes for stage in STAGES]


def keys_of(project: Project, **recipe: Any) -> dict[str, Any]:
    """Return the documents of a recipe's keys, by stage."""
    write_recipe(project, "m", {**fake_recipe(), **recipe})
    plan = context_of(project).plan("m")
    found = {}
    for stage in STAGES:
        key = plan.key(stage.name, "int4")
        assert key is not None
        found[stage.name] = key.document
    return found


def test_a_task_is_in_no_key_of_text_generation(project: Project) -> None:
    """What was built before there were tasks stays built."""
    for document in keys_of(project).values():
        assert not {"task", "embedding", "rerank"} & document.keys()
    assert keys_of(project) == keys_of(project, task="text-generation")


def test_tasks_share_no_base_and_instructions_change_the_directory_alone(project: Project) -> None:
    """Pooling and instructions are asked with, and export nothing anew."""
    own: dict[str, Any] = {
        "model": {"id": "made:checkpoint"},
        "variants": {"int4": {"compressor": "fake", "group_size": 64}},
    }
    tasks = ("text-embedding", "text-rerank")
    documents = []
    for recipe in (
        {"task": tasks[0]},
        {"task": tasks[1]},
        {"task": tasks[0], "embedding": {"pooling": "cls"}},
    ):
        write_recipe(project, "m", {**own, **recipe})
        plan = context_of(project).plan("m")
        documents.append(
            {stage.name: plan.pinned_key(stage.name, "int4").sha256 for stage in STAGES}
        )
    first, other, pooled_so = documents
    assert not set(first.values()) & set(other.values())
    assert {name for name in first if first[name] != pooled_so[name]} == {"assemble", "check"}


def test_an_exporter_that_does_not_know_the_task_is_refused(project: Project) -> None:
    """It would export a model that writes text, after an hour."""
    recipe = {"model": {"id": "made:checkpoint", "exporter": "fine"}, "task": "text-embedding"}
    path = write_recipe(project, "m", {**recipe, "variants": {"int4": {"compressor": "fake"}}})
    with pytest.raises(RecipeInvalid, match="exporter 'fine' does not know text-embedding, only"):
        context_of(project).plan("m").judge()
    assert path.exists()
    assert load_recipe(project, "m").task == "text-embedding"


def test_what_a_task_has_no_use_for_is_refused_at_its_place(project: Project) -> None:
    """All of it at once, within variants too; and of other tasks what is only of this one."""
    path = project.recipes_dir / "m.yaml"
    path.write_text(
        "task: text-rerank\n"
        "model: {id: a/b}\n"
        "output: {filters: [hide_reasoning]}\n"
        "accept: {score_difference: 0.1, cosine: 0.9}\n"
        "embedding: {pooling: cls}\n"
        "variants:\n"
        "  int4: {awq: true, dataset: generated, generation: {top_k: 1}, accept: {same_top: 0.5}}\n"
    )
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(project, "m")
    places = [line.split(": ")[:2] for line in str(caught.value).splitlines()]
    assert places == [
        ["recipes/m.yaml:3:1", "output"],
        ["recipes/m.yaml:4:33", "accept.cosine"],
        ["recipes/m.yaml:5:1", "embedding"],
        ["recipes/m.yaml:7:21", "variants.int4.dataset"],
        ["recipes/m.yaml:7:41", "variants.int4.generation"],
        ["recipes/m.yaml:7:74", "variants.int4.accept.same_top"],
    ]
    path.write_text("model: {id: a/b}\nembedding: {pooling: cls}\nvariants: {int8: {}}\n")
    with pytest.raises(RecipeInvalid, match=r"m\.yaml:2:1: embedding: .* that writes text"):
        load_recipe(project, "m")


def test_lines_are_texts_or_objects_with_one() -> None:
    """A byte order mark and line ends of Windows are no part of a text."""
    data = '\ufeffParis\r\n  {"text": "Berlin", "id": 7}\n"quoted"\n'.encode()
    assert list(read_lines(io.BytesIO(data))) == [
        Line("Paris", {}),
        Line("Berlin", {"id": 7}),
        Line('"quoted"', {}),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"one\n\ntwo\n", "stdin, line 2: the text is empty"),
        (b"\xff\n", "stdin, line 1: is not UTF-8: byte 1 is 0xff"),
        (b'{"text": "a"\n', "stdin, line 1: is not JSON"),
        (b'{"txt": "a"}\n', 'stdin, line 1: has no "text"'),
        (b'{"text": " "}\n', "stdin, line 1: the text is empty"),
    ],
)
def test_a_line_without_a_text_is_named(data: bytes, said: str) -> None:
    """A vector left out would move all that follow."""
    with pytest.raises(PromptRefused, match=said):
        list(read_lines(io.BytesIO(data)))


def test_a_checkpoint_without_a_layer_that_scores_is_refused(
    project: Project, checkpoint_dir: Path
) -> None:
    """The library makes one up, of random numbers, and only warns."""
    write(checkpoint_dir, "config.json", {"model_type": "bert", "architectures": ["BertModel"]})
    document = {"task": "text-rerank", "model": {"id": "a/b"}, "variants": {"int8": {}}}
    write_recipe(project, "m", document)
    job = ExportJob(
        recipe=load_recipe(project, "m"), checkpoint_dir=checkpoint_dir, output_dir=checkpoint_dir
    )
    with pytest.raises(StageError, match="has no layer that scores texts: it is BertModel"):
        OptimumExporter().export(job)


def test_gate_errors_are_gates() -> None:
    """What OpenVINO cannot run is refused, and its exit code is that of a gate."""
    from ovrecipe.build.stages.check import gate_errors

    with pytest.raises(GateError, match="it does not: why"), gate_errors("it does not"):
        raise StageError("why")
