"""conformance: the gate that the converted tokenizer must pass, once per recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always

if TYPE_CHECKING:
    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.types import Json

#: What a prompt's text depends on.
PROMPT_FIELDS = {"template", "chat_template", "system"}
#: What reads and writes tokens on either side of the comparison.
PACKAGES = ("openvino", "openvino-genai", "openvino-tokenizers", "tokenizers", "transformers")


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """What writes the prompt, which is part of what is compared; and who compares it."""
    prompt = plan.recipe.prompt
    return {
        "prompt": prompt.model_dump(mode="json", exclude_none=True, include=PROMPT_FIELDS),
        "packages": plan.package_versions(PACKAGES),
    }


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Compare the checkpoint's tokenizer with the converted pair.

    Raises:
        GateError: they differ; the message shows the first difference.
    """
    from ovrecipe.build.stages.check import probe_prompt
    from ovrecipe.conformance.compare import check_conformance, compare_tokenizers

    tokenizer_dir = job.inputs["tokenizer"]
    bench.progress("comparing tokenizers")
    report = compare_tokenizers(
        job.checkpoint_dir,
        tokenizer_dir,
        prompts=[probe_prompt(job.recipe, tokenizer_dir)],
        trust_remote_code=job.recipe.model.trust_remote_code,
    )
    check_conformance(report)
    return report.facts()


STAGE = Stage(
    "conformance", 1, "checking the tokenizer", always("source", "tokenizer"), fields, run
)
