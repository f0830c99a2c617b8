"""What a page can choose from: built variants with their facts, and devices."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import NotBuilt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ovrecipe import Chat, Project
    from ovrecipe.recipe.schema import Recipe

WEIGHTS = "openvino_model.bin"


@dataclass(frozen=True)
class BuiltVariant:
    """What is known of an artifact; sizes in bytes, `digest` is the sha256 of its key."""

    name: str
    weights_bytes: int | None = None
    size_bytes: int | None = None
    digest: str | None = None
    created: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """The choices of one recipe's page.

    `system` and `generation` are what a conversation brings along; the page starts with them.
    """

    recipe: Recipe
    variants: Mapping[str, BuiltVariant]
    devices: Sequence[str]
    system: str | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unbuilt(self) -> tuple[str, ...]:
        """Variants of the recipe that cannot be chosen yet."""
        return tuple(each for each in self.recipe.variants if each not in self.variants)

    def parameters(self, variant: str) -> dict[str, Any]:
        """Return the generation parameters of an artifact with the recipe's on top."""
        artifact = self.variants[variant].generation
        given = {**artifact, **self.recipe.generation_of(variant).given(), **self.generation}
        return {**given, "do_sample": False} if given.get("greedy") else given


def project_catalog(project: Project, recipe: Recipe, devices: Sequence[str]) -> Catalog:
    """Return what is built in a project.

    Raises:
        NotBuilt: nothing is.
    """
    folder = project.models_dir / recipe.name
    built = {each: folder / each for each in recipe.variants if _is_built(folder / each)}
    if not built:
        raise NotBuilt(
            f"no variant of {recipe.name} is built", remedy=f"ovrecipe build {recipe.name}"
        )
    return Catalog(recipe, {name: _facts(name, path) for name, path in built.items()}, devices)


def chat_catalog(conversation: Chat) -> Catalog:
    """Return what the model of a conversation can be switched to, on the same device."""
    runner = conversation.runner
    names: dict[str, int | None] = {runner.variant: None}
    if runner.variants is not None:
        names |= runner.variants.sizes_bytes()
    variants = {name: BuiltVariant(name, weights_bytes=size) for name, size in names.items()}
    return Catalog(
        runner.recipe,
        variants,
        [runner.device],
        system=conversation.system,
        generation=conversation.generation,
    )


def _is_built(model_dir: Path) -> bool:
    return (model_dir / "manifest.json").is_file()


def _facts(name: str, model_dir: Path) -> BuiltVariant:
    manifest = _read(model_dir / "manifest.json")
    sizes = {path: int(each["size_bytes"]) for path, each in manifest["files"].items()}
    return BuiltVariant(
        name,
        weights_bytes=sizes.get(WEIGHTS),
        size_bytes=sum(sizes.values()),
        digest=manifest["sha256"],
        created=manifest["created"],
        generation=_generation(model_dir / "generation_config.json"),
    )


def _generation(path: Path) -> dict[str, Any]:
    return _read(path) if path.is_file() else {}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
