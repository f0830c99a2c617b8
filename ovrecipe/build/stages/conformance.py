"""conformance: the gate that the converted tokenizer must pass, once per recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.assemble import chat_template_of
from ovrecipe.build.stages.check import QUESTION
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.run.prompt import ChatTemplate, fixed_clock, special_tokens
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan

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


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Compare the checkpoint's tokenizer and chat template with the converted ones.

    Raises:
        GateError: they differ, or their chat templates do; the message shows the first difference.
    """
    from ovrecipe.conformance.compare import check_conformance, compare_tokenizers
    from ovrecipe.conformance.templates import check_template

    tokenizer_dir = job.inputs["tokenizer"]
    context.progress("comparing tokenizers")
    # One of the prompts is rendered by the template that `assemble` will write.
    template = ChatTemplate(
        chat_template_of(job.recipe.prompt, tokenizer_dir),
        special_tokens=special_tokens(tokenizer_dir),
        clock=fixed_clock,
    )
    report = compare_tokenizers(
        job.checkpoint_dir,
        tokenizer_dir,
        prompts=[template.render([{"role": "user", "content": QUESTION}])],
        trust_remote_code=job.recipe.model.trust_remote_code,
    )
    check_conformance(report)
    compared = check_template(job.checkpoint_dir, tokenizer_dir, clock=fixed_clock)
    return {**report.facts(), "conversations": compared}


STAGE = Stage(
    name="conformance",
    doc="the tokenizer's gate",
    doing="checking the tokenizer",
    version=2,
    inputs=always("source", "tokenizer"),
    fields=fields,
    run=run,
    is_gate=True,
)
