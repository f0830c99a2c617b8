"""tokenizer: the OpenVINO tokenizer and detokenizer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ovrecipe.build.stages.stage import Stage, always

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import ModuleType

    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.roles import Json


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:  # noqa: ARG001
    """The checkpoint and the converter."""
    return {"converter": plan.converter.key_fields()}


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Convert the checkpoint's tokenizer."""
    name = job.recipe.tokenizer.converter
    converter = bench.plugins.provider("tokenizer_converter", name, job.recipe).provider
    if not getattr(converter, "needs_torch", True) and not job.recipe.model.trust_remote_code:
        keep_torch_out(sys.modules)
    converter.convert(
        job.checkpoint_dir, job.output_dir, model=job.recipe.model, progress=bench.progress
    )
    return {}


def keep_torch_out(modules: MutableMapping[str, ModuleType]) -> None:
    """Make torch impossible to import in this process, which does nothing but convert.

    transformers imports it whenever it can, and tokenizers never use it: without it the stage
    takes 2.7 s and 0.2 GB where it took 6.6 s and 0.95 GB (SmolLM2, transformers 5.5).
    """
    modules.setdefault("torch", None)  # type: ignore[arg-type]


STAGE = Stage("tokenizer", 1, "converting the tokenizer", always("source"), fields, run)
