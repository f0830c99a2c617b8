"""reference: what the source said of a few texts, and the gate that the base IR says the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.stages.base import MODEL_FILES
from ovrecipe.build.stages.check import OPENING_BYTES, OPENING_FACTOR
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.builtin.ir import base_bytes
from ovrecipe.errors import GateError, StageError
from ovrecipe.hooks.roles import Estimate
from ovrecipe.store.disk import link_file
from ovrecipe.wording import last_line

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.measure.reference import Reference
    from ovrecipe.types import Json

#: The largest mean divergence of a base IR in float32 from its source: in nats, and as a share of
#: the source's information, which untrained models have little of. What exports rightly stays
#: below 1e-5 (51 architectures, optimum-intel 2.2).
MAX_MEAN_KL, MAX_SHARE = 1e-3, 1e-3
#: The largest mean distance of log-probabilities through paged attention from the source's, as a
#: share of their standard deviation: rightly computed, SmolLM2 has 5e-5.
MAX_GAP = 0.02
PACKAGES = ("openvino", "openvino-genai")


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """What runs the base IR."""
    return {"packages": plan.package_versions(PACKAGES)}


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the base IR with its source, and paged attention with the IR.

    Without a word of the source, the IR's own answers are the reference, and `by` says so.

    Raises:
        GateError: the IR computes something else than the checkpoint.
    """
    from ovrecipe.measure.figures import compared
    from ovrecipe.measure.models import answer, logits_of
    from ovrecipe.measure.reference import FILE, AnswersTaken, Reference

    base_dir = job.inputs["base"]
    facts: dict[str, Json] = {"weights_bytes": (base_dir / MODEL_FILES[1]).stat().st_size}
    if (base_dir / FILE).exists():
        context.progress("comparing the base IR with its source")
        reference = Reference.load(base_dir)
        figures = compared(reference, logits_of(base_dir, reference.tokens))
        limit = min(MAX_MEAN_KL, MAX_SHARE * figures.information)
        if not figures.mean_kl <= limit:
            raise GateError(
                f"{job.recipe.name}: the exported IR computes something else than the checkpoint: "
                f"mean_kl is {figures.mean_kl:.3g} nats in float32, at most {limit:.3g}; the "
                f"same top token at {figures.same_top:.1%} of {figures.tokens} places",
                remedy="the exporter does not know this architecture rightly; try another version",
            )
        link_file(base_dir / FILE, job.output_dir / FILE)
        facts.update(figures.facts())
    else:
        context.progress("asking the base IR, for its exporter did not ask the checkpoint")
        trusted = job.recipe.model.trust_remote_code
        answers = AnswersTaken(job.checkpoint_dir, trust_remote_code=trusted)
        answer(base_dir, answers)
        found = answers.reference(by="the base IR")
        assert found is not None, "each text was answered"
        reference = found
        reference.save(job.output_dir)
    context.progress("comparing paged attention with the base IR")
    return {"by": reference.by, **facts, **_attention(reference, base_dir, job.inputs["tokenizer"])}


def _attention(reference: Reference, base_dir: Path, tokenizer_dir: Path) -> dict[str, Json]:
    """Return which attention backend of GenAI computes what the source does.

    Paged attention, which is faster, unless it does not; SDPA runs the IR as it is, which was
    compared with the source.
    """
    from ovrecipe.measure.figures import gap
    from ovrecipe.measure.models import EXACTLY, Paged

    try:
        opened = Paged(base_dir, EXACTLY, tokenizer_dir=tokenizer_dir)
        found = opened.log_probabilities(reference.tokens)
    except StageError as error:
        return {"attention_backend": "SDPA", "paged_attention": last_line(error)}
    distance = gap(found, reference.chosen)
    backend = "PA" if distance <= MAX_GAP else "SDPA"
    return {"attention_backend": backend, "paged_attention_gap": f"{distance:.3g}"}


def estimate(work: Work) -> Estimate:
    """The base IR is opened; its weights stay in their 16 bits."""
    size_bytes = base_bytes(work.tensors())
    return Estimate(disk_bytes=0, memory_bytes=int(OPENING_BYTES + OPENING_FACTOR * size_bytes))


STAGE = Stage(
    name="reference",
    doc="the source's own answers, and the gate of the base IR",
    doing="comparing the base IR with its source",
    version=1,
    inputs=always("source", "base", "tokenizer"),
    fields=fields,
    run=run,
    is_gate=True,
    estimate=estimate,
)
