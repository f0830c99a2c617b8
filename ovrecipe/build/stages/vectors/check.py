"""check, of a model that only reads: its vectors or scores are like its source's, also in GenAI."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.build.stages.base import MODEL_FILES
from ovrecipe.build.stages.check import PACKAGES, estimate, gate_errors
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.errors import GateError, RunError
from ovrecipe.measure.verdict import exceeded
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName
from ovrecipe.store.manifest import read_manifest
from ovrecipe.types import Json

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.run.vectors import VectorPipeline


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """What opens the model and reads."""
    return {"packages": plan.package_versions(PACKAGES)}


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the weights with the source, and GenAI's run of them with an exact one.

    What is found is judged by the recipe's limits of the day (`judged`), not here.

    Raises:
        GateError: OpenVINO or GenAI does not run it.
    """
    from ovrecipe.builtin.vector_settings import VectorSettings
    from ovrecipe.measure.layers import layers_of, load_layers, worst_layer
    from ovrecipe.measure.likeness import LIKENESS, lost, quality_of
    from ovrecipe.measure.readings import Readings, outputs_of
    from ovrecipe.run.vectors import VectorPipeline

    model_dir, task = job.inputs["assemble"], job.recipe.task
    rows_of = LIKENESS[task].rows
    context.progress("comparing with the source")
    settings = VectorSettings.load(model_dir)
    readings = Readings.load(job.inputs["reference"])
    with gate_errors("OpenVINO does not run the model"):
        found = rows_of(outputs_of(model_dir, readings.inputs, task), settings)
        context.progress("comparing its layers with the base IR's")
        layers = load_layers(job.inputs["reference"])
        own_layers = layers_of(model_dir, readings.inputs, [*layers])
    quality = quality_of(task, rows_of(readings.outputs, settings), found)
    base_bytes = read_manifest(job.inputs["reference"]).facts["weights_bytes"]
    assert isinstance(base_bytes, int), "written by the stage `reference`"
    size_bytes = (model_dir / MODEL_FILES[1]).stat().st_size
    quality["size_ratio"] = round(size_bytes / base_bytes, 4)
    context.progress("asking the model")
    # As the source read them: the whole probe, in a batch with others.
    settings = settings.model_copy(update={"max_length": readings.max_length})
    try:
        with VectorPipeline.opened(model_dir, settings, "CPU") as pipeline:
            as_run = AS_RUN[task](pipeline)
    except RunError as error:
        raise GateError(
            f"OpenVINO GenAI does not run the model: {error.message}",
            remedy="its weights are right; which models GenAI cannot run is in docs/embeddings.md",
        ) from error
    quality["as_run_lost"] = round(lost(found, as_run), 6)
    limit = _limits(job.recipe, str(job.variant))["layer_lost"]
    worst = worst_layer(layers, own_layers, limit)
    if worst is None:
        return {"quality": quality}
    if math.isfinite(worst.lost):
        quality["layer_lost"] = round(worst.lost, 6)
    return {"quality": quality, "layer": worst.layer}


def _embedded(pipeline: VectorPipeline) -> NDArray[np.float32]:
    """Return GenAI's embeddings of the probes."""
    import numpy as np

    from ovrecipe.measure.likeness import unit
    from ovrecipe.measure.readings import TEXTS

    return unit(np.array(pipeline.vectors(TEXTS), np.float32))


def _scored(pipeline: VectorPipeline) -> NDArray[np.float32]:
    """Return GenAI's scores of the probes, query by query."""
    import numpy as np

    from ovrecipe.measure.readings import PAIRS, QUERIES

    found = [
        score
        for query in QUERIES
        for score in pipeline.scores(query, [text for asked, text in PAIRS if asked == query])
    ]
    return np.array(found, np.float32)[:, None]


#: How GenAI reads the probes of a task.
AS_RUN: Mapping[TaskName, Callable[[VectorPipeline], NDArray[np.float32]]] = {
    EMBEDDING: _embedded,
    RERANK: _scored,
}


def judged(recipe: Recipe, variant: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a check's facts the recipe does not accept."""
    limits, layer = _limits(recipe, variant), facts.get("layer")
    if layer is None:
        # The base IR has none that tells texts apart.
        del limits["layer_lost"]
    for one in exceeded(facts["quality"], limits):
        yield f"{one}, first exceeded by {layer}" if one.name == "layer_lost" else str(one)


def _limits(recipe: Recipe, variant: str) -> dict[str, float]:
    """Return what the figures of a variant may be."""
    from ovrecipe.measure.likeness import vector_limits

    return vector_limits(recipe.accept_of(variant), recipe.variants[variant].precision)


STAGE = Stage(
    name="check",
    doc="the gate that the model is like its source",
    doing="checking that the model is like its source",
    version=2,
    inputs=always("assemble", "reference"),
    fields=fields,
    run=run,
    per_variant=True,
    is_gate=True,
    objections=judged,
    estimate=estimate,
)
