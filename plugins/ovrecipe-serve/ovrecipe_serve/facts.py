"""What a server says of its models beside their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError

if TYPE_CHECKING:
    from ovrecipe.cli.session import Session
    from ovrecipe.run.load import Found


def model_facts(session: Session, found: Found) -> Mapping[str, Any]:
    """Return what recipe, manifest and gates say of a variant, for `/v1/models` and the page."""
    artifact = found.artifact
    digest, quality = _of_export(found) if found.project is None else _of_project(session, found)
    return {
        "recipe": found.recipe.name,
        "variant": artifact.variant,
        "source": found.recipe.model.id,
        "sha256": digest,
        "weights_bytes": artifact.weights_bytes,
        "max_model_len": artifact.context_length(),
        "attention_backend": artifact.attention_backend(),
        "quality": quality,
    }


def _of_export(found: Found) -> tuple[str, Any]:
    """Return the digest and the gates' figures that an export carries."""
    from ovrecipe.run.exported import read_export

    export = read_export(found.artifact.model_dir)
    return export.artifact, export.gates.get("check", {}).get("quality")


def _of_project(session: Session, found: Found) -> tuple[str, Any]:
    """Return the digest, and the figures; None, and it is said, of what the recipe made no more."""
    from ovrecipe.build.run import Target, built_manifests

    digest = found.artifact.model_dir.name
    target = Target(found.recipe.name, found.artifact.variant)
    try:
        manifests = built_manifests(session.build_context(), target)
    except OvrecipeError as error:
        found.announce(f"{target}: the page shows no figures of its gates: {error.message}")
        return digest, None
    return digest, manifests["check"].facts.get("quality") if "check" in manifests else None
