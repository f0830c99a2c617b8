"""The gate that no layer is damaged: what the model's end hardly shows, with the layer's name."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovrecipe.build.stages import route_of
from ovrecipe.build.stages.stage import Job, StageContext
from ovrecipe.builtin.ir import read_ir, save_ir
from ovrecipe.errors import ArtifactCorrupt
from ovrecipe.measure.layers import FILE, load_layers, save_layers, worst_layer
from ovrecipe.measure.likeness import BROKEN_LAYER_LOST, BROKEN_LOST
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from ovrecipe.store.views import REFUSED
from ovrecipe.testing import plugins_with
from tests.vectors.test_models import artifact_dir

RANDOM = np.random.default_rng(20)
ROWS = {f"layer/{number}": RANDOM.normal(size=(12, 8)).astype(np.float32) for number in range(3)}
LIMIT = BROKEN_LAYER_LOST["int4"]
QUERY = "layer.1.attention.self.query"


def worst(source: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[float, str]:
    """Return what was lost most, and the layer that is named."""
    told = worst_layer(source, found, LIMIT)
    assert told is not None
    return told


def test_the_first_layer_beyond_the_limit_is_named_with_the_most_that_was_lost() -> None:
    """Zeros lose all, another layer's rows more, and rows moved alike nothing."""
    source = {**ROWS, "the same of every text": np.ones((12, 8), np.float32)}
    assert worst(source, source)[0] == 0
    zeroed = {**source, "layer/1": np.zeros((12, 8), np.float32)}
    assert worst(source, zeroed) == (pytest.approx(1), "layer/1")
    behind = {**zeroed, "layer/2": -ROWS["layer/2"]}
    assert worst(source, behind) == (pytest.approx(4), "layer/1")
    moved = {name: rows + 5 for name, rows in source.items()}
    assert worst(source, moved)[0] < 1e-9
    little = {**source, "layer/2": ROWS["layer/2"] * 0.9}
    assert worst(source, little) == (pytest.approx(0.01, rel=1e-4), "layer/2")


def test_a_layer_that_is_missing_or_no_number_lost_all() -> None:
    """It must not pass because nobody could compare it."""
    missing = {name: rows for name, rows in ROWS.items() if name != "layer/0"}
    assert worst(ROWS, missing) == (math.inf, "layer/0")
    broken = {**ROWS, "layer/2": np.full((12, 8), np.nan, np.float32)}
    assert worst(ROWS, broken) == (math.inf, "layer/2")
    assert worst_layer({"constant": np.ones((12, 8), np.float32)}, {}, LIMIT) is None


def test_rows_of_layers_come_back_as_they_were(tmp_path: Path) -> None:
    """Under names with slashes, which no file in an archive may have."""
    save_layers(ROWS, tmp_path)
    read = load_layers(tmp_path)
    assert list(read) == list(ROWS)
    assert all((read[name] == rows).all() for name, rows in ROWS.items())
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(ArtifactCorrupt, match=r"layers\.npz"):
        load_layers(tmp_path)


def leave(products: Mapping[str, Any]) -> None:
    """Damage nothing."""


def zero_a_query(products: Mapping[str, Any]) -> None:
    """Let one projection of queries give zeros."""
    import openvino as ov

    [product] = [product for name, product in products.items() if QUERY in name]
    nothing = ov.opset13.constant(np.zeros((), np.float32))
    zeroed = ov.opset13.multiply(product.input_value(1), nothing)
    product.input(1).replace_source_output(zeroed.output(0))


def swap_layers(products: Mapping[str, Any]) -> None:
    """Give the first layer the second one's matrices, and the other way round."""
    for name, first in products.items():
        if second := products.get(name.replace("layer.0.", "layer.1.")):
            of_first, of_second = first.input_value(1), second.input_value(1)
            # Others are products of two texts' states.
            is_of_weights = of_first.get_partial_shape().is_static
            if first is not second and is_of_weights:
                first.input(1).replace_source_output(of_second)
                second.input(1).replace_source_output(of_first)


def checked(
    project: Project, folder: Path, damage: Callable[[Mapping[str, Any]], None]
) -> tuple[dict[str, Any], list[str]]:
    """Return what `check` finds out of a damaged `bert:int4`, and what is not accepted of that."""
    made_dir = project.models_dir / REFUSED / "bert" / "int4"
    model_dir = Path(shutil.copytree(made_dir, folder / "damaged", copy_function=shutil.copyfile))
    for path in model_dir.glob("openvino_model.*"):
        path.unlink()
    model = read_ir(made_dir)
    found = [node for node in model.get_ops() if node.get_type_name() == "MatMul"]
    damage({node.get_friendly_name(): node for node in found})
    save_ir(model, model_dir, source_dir=made_dir)
    recipe = load_recipe(project, "bert")
    job = Job(
        recipe=recipe,
        variant="int4",
        inputs={"assemble": model_dir, "reference": artifact_dir(project, "reference", "bert")},
        output_dir=folder,
        pin={},
        plugin_options=(),
        store_dir=project.store_dir,
    )
    stage = next(one for one in route_of("text-embedding") if one.name == "check")
    context = StageContext(plugins=plugins_with(), progress=lambda *_, **__: None, env={})
    facts = dict(stage.run(job, context))
    return facts, [line for line in stage.objections(recipe, "int4", facts) if "cosine" not in line]


@pytest.mark.model
@pytest.mark.slow
def test_honest_int4_is_within_the_limits_and_damage_is_not(
    vector_project: Project, tmp_path: Path
) -> None:
    """Though the embeddings of all three are within theirs."""
    found = {}
    for damage in (leave, zero_a_query, swap_layers):
        folder = tmp_path / damage.__name__
        folder.mkdir()
        found[damage] = checked(vector_project, folder, damage)
        quality = found[damage][0]["quality"]
        assert quality["lost"] < BROKEN_LOST["int4"], (damage, quality)
    honest, objections = found[leave]
    assert objections == []
    assert honest["quality"]["layer_lost"] < LIMIT / 2
    for damage, layer in ((zero_a_query, QUERY), (swap_layers, ".layer.0.")):
        [objection] = found[damage][1]
        assert objection.startswith("layer_lost is ")
        assert f"at most {LIMIT:g} is accepted, first exceeded by " in objection
        assert layer in objection
