"""What a recipe's artifacts are called: every key, known without building anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ovrecipe.build.stages import STAGES, stage_named
from ovrecipe.hooks.roles import FileDigests, SourceRequest
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.store.key import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ovrecipe.build.stages.stage import Stage
    from ovrecipe.hooks import roles
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.store.pins import Pins
    from ovrecipe.types import Json


@dataclass
class RecipePlan:
    """The keys of one recipe's stages; a key is None while a branch is not pinned yet."""

    recipe: Recipe
    project: Project
    plugins: Plugins
    digests: FileDigests
    pins: Pins
    _keys: dict[tuple[str, str | None], Key] = field(default_factory=dict)

    @cached_property
    def source(self) -> Provided[roles.Source]:
        """Who brings the checkpoint."""
        return self.plugins.provider("source", split_model_id(self.recipe.model.id)[0], self.recipe)

    @cached_property
    def exporter(self) -> Provided[roles.Exporter]:
        """Who makes the base IR."""
        return self.plugins.provider("exporter", self.recipe.model.exporter.name, self.recipe)

    @cached_property
    def converter(self) -> Provided[roles.TokenizerConverter]:
        """Who converts the tokenizer."""
        name = self.recipe.tokenizer.converter.name
        return self.plugins.provider("tokenizer_converter", name, self.recipe)

    def compressor(self, name: str) -> Provided[roles.Compressor]:
        """Who compresses weights under that name."""
        return self.plugins.provider("compressor", name, self.recipe)

    def evaluator(self, name: str) -> Provided[roles.Evaluator]:
        """Who judges variants under that name."""
        return self.plugins.provider("evaluator", name, self.recipe)

    def package_versions(self, names: Iterable[str]) -> dict[str, Json]:
        """Return what a key says about packages that a stage itself calls."""
        return {each: self.plugins.package_version(each) for each in sorted(names)}

    def request(self) -> SourceRequest:
        """Return what the source is asked for."""
        return SourceRequest(
            recipe=self.recipe,
            location=split_model_id(self.recipe.model.id)[1],
            env=self.project.env,
            digests=self.digests,
        )

    @cached_property
    def pin(self) -> Mapping[str, Json]:
        """What identifies the checkpoint's content; asks the network only in `resolve`."""
        found = self._known_pin()
        assert found is not None, "keys are asked for once the source is pinned"
        return found

    def _known_pin(self) -> Mapping[str, Json] | None:
        if self.source.traits.needs_pin:
            return self.pins.get(self.recipe.model.id, self.recipe.model.revision)
        return self._asked_pin()

    def _asked_pin(self) -> dict[str, Json]:
        with self.source.blamed():
            return dict(self.source.provider.pin(self.request()))

    @property
    def is_pinned(self) -> bool:
        """Whether the content of the checkpoint is known."""
        if "pin" in self.__dict__:
            return True
        found = self._known_pin()
        if found is not None:
            self.__dict__["pin"] = found
        return found is not None

    def resolve(self, *, update: bool = False) -> None:
        """Pin the checkpoint, asking the network when it is not pinned or `update` is set."""
        if update:
            self.__dict__.pop("pin", None)
            self._keys.clear()
        elif self.is_pinned:
            return
        pin = self._asked_pin()
        if self.source.traits.needs_pin:
            self.pins.record(self.recipe.model.id, self.recipe.model.revision, pin)
        self.__dict__["pin"] = pin

    def key(self, stage: str, variant: str | None = None) -> Key | None:
        """Return the key of a stage's result, or None while the checkpoint is not pinned."""
        return self._key(stage_named(stage), variant) if self.is_pinned else None

    def _key(self, stage: Stage, variant: str | None) -> Key:
        variant = variant if stage.per_variant else None
        name = (stage.name, variant)
        if name not in self._keys:
            self._keys[name] = Key(stage.name, self._document(stage, variant))
        return self._keys[name]

    def _document(self, stage: Stage, variant: str | None) -> dict[str, Json]:
        inputs = stage.inputs(self.recipe, variant)
        return {
            **stage.fields(self, variant),
            "stage_version": stage.version,
            "inputs": {each: self._key(stage_named(each), variant).sha256 for each in inputs},
        }

    def wanted_keys(self) -> set[str]:
        """Return the digest of every artifact that this recipe can still want."""
        if not self.is_pinned:
            return set()
        return {
            self._key(stage, variant).sha256
            for stage in STAGES
            for variant in (self.recipe.variants if stage.per_variant else (None,))
        }
