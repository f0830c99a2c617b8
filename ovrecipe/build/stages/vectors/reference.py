"""reference, of a model that only reads: what its source makes of texts, and the base IR's gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.base import MODEL_FILES, asked_of
from ovrecipe.build.stages.reference import estimate, fields
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.errors import GateError
from ovrecipe.store.disk import link_file
from ovrecipe.types import Json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: How much of the differences between the source's tokens a base IR may lose in float32. What
#: exports rightly stays below 1e-9.
MAX_LOST = 1e-4


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the base IR with its source.

    Without a word of the source, the IR's own outputs are the reference, and `by` says so.

    Raises:
        GateError: the IR computes something else than the checkpoint, or it has not one score.
    """
    import numpy as np

    from ovrecipe.measure.layers import layers_of, save_layers
    from ovrecipe.measure.likeness import lost
    from ovrecipe.measure.readings import FILE, Readings, outputs_of

    base_dir, task = job.inputs["base"], job.recipe.task
    facts: dict[str, Json] = {"weights_bytes": (base_dir / MODEL_FILES[1]).stat().st_size}
    if (base_dir / FILE).exists():
        context.progress("comparing the base IR with its source")
        readings = Readings.load(base_dir)
        found = outputs_of(base_dir, readings.inputs, task)
        share = lost(np.concatenate(rows(readings.outputs)), np.concatenate(rows(found)))
        if not share <= MAX_LOST:
            raise GateError(
                f"{job.recipe.name}: the exported IR computes something else than the checkpoint: "
                f"{share:.3g} of what tells its tokens apart is lost in float32, at most "
                f"{MAX_LOST:g} is rounding",
                remedy="the exporter does not know this architecture rightly; try another version",
            )
        link_file(base_dir / FILE, job.output_dir / FILE)
        facts["lost"] = float(f"{share:.3g}")
    else:
        context.progress("asking the base IR, for its exporter did not ask the checkpoint")
        [taken] = asked_of(job).values()
        for output in outputs_of(base_dir, taken.inputs, task):
            taken.take(output)
        readings = taken.reference(by="the base IR")
        readings.save(job.output_dir)
    labels = {output.shape[-1] for output in readings.outputs if output.ndim == 1}
    if labels - {1}:
        raise GateError(
            f"{job.recipe.name}: the checkpoint has {max(labels)} labels, and texts are scored by "
            "a single one",
            remedy="it classifies; take a checkpoint that was trained to rank",
        )
    context.progress("asking the layers of the base IR")
    layers = layers_of(base_dir, readings.inputs)
    save_layers(layers, job.output_dir)
    return {"by": readings.by, "layers": len(layers), **facts}


def rows(outputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return states, (tokens, size), as they are, and logits of a pair, (labels,), as a row."""
    return [output if output.ndim > 1 else output[None] for output in outputs]


STAGE = Stage(
    name="reference",
    doc="what the source itself makes of texts, and the gate of the base IR",
    doing="comparing the base IR with its source",
    version=2,
    inputs=always("source", "base"),
    fields=fields,
    run=run,
    is_gate=True,
    estimate=estimate,
)
