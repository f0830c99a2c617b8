"""What a page can choose from: built variants with their facts, and devices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe_gradio.settings import CONTROLLED, SAMPLING

if TYPE_CHECKING:
    from ovrecipe import Chat, Project, Runner
    from ovrecipe.recipe.schema import Recipe


@dataclass(frozen=True)
class BuiltVariant:
    """What is known of an artifact; sizes in bytes, `digest` is the sha256 of its key."""

    weights_bytes: int | None = None
    size_bytes: int | None = None
    digest: str | None = None
    created: str | None = None


@dataclass(frozen=True)
class Catalog:
    """The choices of one recipe's page.

    `parameters` are those that the artifact carries; `system` and `generation` are what a
    conversation brings along.
    """

    recipe: Recipe
    variants: Mapping[str, BuiltVariant]
    devices: Sequence[str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """Variants of the recipe that cannot be chosen yet."""
        return tuple(variant for variant in self.recipe.variants if variant not in self.variants)

    @property
    def starts_at(self) -> dict[str, Any]:
        """The parameters that the controls start at: the artifact's, the conversation's on top.

        As for the runner, temperature 0 of a conversation is greedy and any other one samples.
        """
        given = dict(self.generation)
        if given.pop("greedy", False) or given.get("temperature") == 0:
            given.pop("temperature", None)
            given["do_sample"] = False
        elif not given.keys().isdisjoint(SAMPLING):
            given.setdefault("do_sample", True)
        return {**self.parameters, **given}

    @property
    def uncontrolled(self) -> dict[str, Any]:
        """The conversation's parameters for which the page has no control."""
        return {name: value for name, value in self.generation.items() if name not in CONTROLLED}


def chat_catalog(conversation: Chat) -> Catalog:
    """Return what the model of a conversation can be switched to, on the same device."""
    runner = conversation.runner
    weights: dict[str, int | None] = {**conversation.variants()}
    # A model that was not loaded from a project is all that there is.
    weights.setdefault(runner.variant, None)
    return Catalog(
        runner.recipe,
        {name: BuiltVariant(size) for name, size in weights.items()},
        [runner.device],
        runner.parameters,
        system=conversation.system,
        generation=conversation.generation,
    )


def project_catalog(project: Project, runner: Runner, devices: Sequence[str]) -> Catalog:
    """Return what is built in a project, with what the manifests say."""
    catalog = chat_catalog(runner.chat())
    folder = project.models_dir / runner.recipe.name
    variants = {
        name: _described(variant, folder / name / "manifest.json")
        for name, variant in catalog.variants.items()
    }
    return replace(catalog, variants=variants, devices=devices)


def _described(variant: BuiltVariant, path: Path) -> BuiltVariant:
    if not path.is_file():
        return variant
    manifest = json.loads(path.read_text(encoding="utf-8"))
    sizes = [entry["size_bytes"] for entry in manifest["files"].values()]
    return replace(
        variant,
        size_bytes=sum(sizes),
        digest=manifest["sha256"],
        created=manifest["created"],
    )
