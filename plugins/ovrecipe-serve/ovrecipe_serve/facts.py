"""What a server says of its models beside their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.store.manifest import MANIFEST, read_manifest

if TYPE_CHECKING:
    from ovrecipe.run.load import Found


def model_facts(found: Found) -> Mapping[str, Any]:
    """Return what the recipe and the manifest of a variant say, for `/v1/models` and the page."""
    artifact = found.artifact
    facts: dict[str, Any] = {
        "recipe": found.recipe.name,
        "variant": artifact.variant,
        "source": found.recipe.model.id,
        "weights_bytes": artifact.weights_bytes,
        "max_model_len": artifact.context_length(),
    }
    if (artifact.model_dir / MANIFEST).is_file():
        facts["sha256"] = artifact.model_dir.name
        facts["gates"] = dict(read_manifest(artifact.model_dir).facts)
    return facts
