"""audit: a stage as CONTRIBUTING says that one is added; a gate that counts bytes."""

from __future__ import annotations

import os
from typing import Any

from ovrecipe.build.stages.stage import Stage, always
from ovrecipe.errors import GateError


def fields(plan: Any, variant: str | None) -> dict[str, Any]:
    """The limit."""
    return {"limit": 10_000}


def run(job: Any, context: Any) -> dict[str, Any]:
    """Count the bytes of the assembled directory."""
    if os.environ.get("AUDIT_REFUSES"):
        raise GateError("the weights look odd")
    return {"bytes": sum(path.stat().st_size for path in job.inputs["assemble"].iterdir())}


STAGE = Stage(
    name="audit",
    doc="the gate that counts bytes",
    doing="counting bytes",
    version=1,
    inputs=always("assemble"),
    fields=fields,
    run=run,
    per_variant=True,
    is_gate=True,
)
