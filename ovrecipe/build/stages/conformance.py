"""conformance: the gate that the converted tokenizer must pass, once per recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe.build.stages.assemble import (
    chat_template_of,
    system_before,
    template_without_system,
    with_system,
)
from ovrecipe.build.stages.check import QUESTION
from ovrecipe.build.stages.stage import Job, Stage, StageContext, always
from ovrecipe.json_files import CHAT_TEMPLATE
from ovrecipe.run.prompt import ChatTemplate, fixed_clock, special_tokens
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.conformance.templates import Render

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

    Where GenAI's own engine makes other prompts of the template than Jinja2, and the same of its
    simplified form, that form is written for `assemble`.

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
    context.progress("comparing chat templates")
    return {**report.facts(), "conversations": compared, **_written_for_genai(job)}


def _written_for_genai(job: Job) -> dict[str, Json]:
    """Write the simplified form where GenAI needs it; return of what its engine made other prompts.

    Every engine without tools in its template describes them in words of its own, so a difference
    with tools alone is no reason.
    """
    from openvino_genai import Tokenizer

    from ovrecipe.conformance.simplified import form_for
    from ovrecipe.conformance.templates import by_genai

    prompt, tokenizer_dir = job.recipe.prompt, job.inputs["tokenizer"]
    tokenizer = Tokenizer(tokenizer_dir)

    def genai(template: str) -> Render:
        tokenizer.chat_template = template
        return by_genai(tokenizer)

    system = system_before(prompt)
    others, form = form_for(
        template_without_system(prompt, tokenizer_dir),
        special_tokens=special_tokens(tokenizer_dir),
        wrapped=lambda template: with_system(template, system) if system else template,
        engine=genai,
    )
    if form is not None:
        (job.output_dir / CHAT_TEMPLATE).write_text(form, encoding="utf-8")
    return {"rendered_otherwise": others, "simplified": form is not None}


STAGE = Stage(
    name="conformance",
    doc="the tokenizer's gate",
    doing="checking the tokenizer",
    version=3,
    inputs=always("source", "tokenizer"),
    fields=fields,
    run=run,
    is_gate=True,
)
