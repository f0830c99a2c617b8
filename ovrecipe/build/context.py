"""What a build works with: the project's folders, the store, the plugins; and recipes' plans."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ovrecipe.build.memory import MemoryBudget
from ovrecipe.build.stages import STAGES, stage_named
from ovrecipe.hooks.roles import FileDigests, SourceRequest
from ovrecipe.recipe.load import check_requirements, load_recipe
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.key import Key
from ovrecipe.store.pins import Pins
from ovrecipe.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ovrecipe.build.stages.stage import Stage
    from ovrecipe.hooks import roles
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json

#: The longest that a cancelled build waits for its stages to clean up.
CANCEL_SECONDS = 15.0


class BuildContext:
    """Made once per process, and shared by the threads that build; `stages` is the table."""

    def __init__(
        self,
        project: Project,
        *,
        plugin_options: tuple[str, ...] = (),
        force: bool = False,
        jobs: int = 2,
        stages: tuple[Stage, ...] = STAGES,
    ) -> None:
        self.project = project
        self.plugin_options = plugin_options
        self.force = force
        self.jobs = jobs
        self.stages = stages
        self.store = Store(project.store_dir)
        self.memory = MemoryBudget()
        self._cancel = threading.Event()
        self._judged: set[str] = set()
        self._idle = threading.Condition()
        self._at_work = 0
        self._plans: dict[str, RecipePlan] = {}

    @cached_property
    def plugins(self) -> Plugins:
        """Built-in and installed plugins, and those of `-p`."""
        from ovrecipe.hooks.plugins import load_plugins

        return load_plugins(env=self.project.env, options=self.plugin_options)

    @cached_property
    def digests(self) -> RememberedDigests:
        """Digests of the user's own files, remembered in the store."""
        return RememberedDigests(self.store.digests_path)

    @cached_property
    def pins(self) -> Pins:
        """The commits that branches meant."""
        return Pins(self.project.lock_path)

    def plan(self, name: str) -> RecipePlan:
        """Return the plan of a recipe, read once.

        Raises:
            RecipeError: there is no such recipe, it is not valid, or wants what is not installed.
        """
        if name not in self._plans:
            recipe = load_recipe(self.project, name)
            check_requirements(recipe)
            self._plans[name] = self.plan_of(recipe)
        return self._plans[name]

    def plan_of(self, recipe: Recipe) -> RecipePlan:
        """Return the plan of a recipe that is already read."""
        return RecipePlan(
            recipe, self.project, self.plugins, self.digests, self.pins, stages=self.stages
        )

    def judge(self, plan: RecipePlan) -> None:
        """Refuse a recipe whose providers, options or templates cannot be used; judged once.

        Raises:
            OvrecipeError: what `ovrecipe validate` would say.
        """
        if plan.recipe.name not in self._judged:
            from ovrecipe.build.judge import require_sound

            require_sound(plan.recipe, self.plugins)
            self._judged.add(plan.recipe.name)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a stage at work, for `cancel` to wait for.

        Raises:
            KeyboardInterrupt: the build was cancelled before.
        """
        with self._idle:
            if self.cancelled():
                raise KeyboardInterrupt
            self._at_work += 1
        try:
            yield
        finally:
            with self._idle:
                self._at_work -= 1
                self._idle.notify_all()

    def cancel(self) -> None:
        """Ask every running stage to end, and wait until their processes and folders are gone."""
        self._cancel.set()
        with self._idle:
            self._idle.wait_for(lambda: self._at_work == 0, timeout=CANCEL_SECONDS)

    def cancelled(self) -> bool:
        """Whether somebody asked the build to end."""
        return self._cancel.is_set()


@dataclass
class RecipePlan:
    """The keys of one recipe's stages, known without building anything.

    A key is None while a branch is not pinned yet.
    """

    recipe: Recipe
    project: Project
    plugins: Plugins
    digests: FileDigests
    pins: Pins
    stages: tuple[Stage, ...] = STAGES
    _pin: Mapping[str, Json] | None = None
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
        return {name: self.plugins.package_version(name) for name in sorted(names)}

    def request(self) -> SourceRequest:
        """Return what the source is asked for."""
        return SourceRequest(
            recipe=self.recipe,
            location=split_model_id(self.recipe.model.id)[1],
            env=self.project.env,
            digests=self.digests,
        )

    @property
    def pin(self) -> Mapping[str, Json]:
        """What identifies the checkpoint's content, once it is pinned."""
        found = self.known_pin()
        assert found is not None, "keys are asked for once the source is pinned"
        return found

    def known_pin(self) -> Mapping[str, Json] | None:
        """Return what identifies the checkpoint's content; None when only a network knows."""
        if self._pin is None:
            if self.source.traits.needs_pin:
                self._pin = self.pins.get(self.recipe.model.id, self.recipe.model.revision)
            else:
                self._pin = self._asked_pin()
        return self._pin

    def _asked_pin(self) -> dict[str, Json]:
        with self.source.blamed():
            return dict(self.source.provider.pin(self.request()))

    def resolve(self, *, update: bool = False) -> None:
        """Pin the checkpoint, asking the network when it is not pinned or `update` is set.

        Raises:
            SourceError: the checkpoint does not exist or cannot be asked for.
        """
        if not update and self.known_pin() is not None:
            return
        pin = self._asked_pin()
        if self.source.traits.needs_pin:
            self.pins.record(self.recipe.model.id, self.recipe.model.revision, pin)
        self._pin = pin
        self._keys.clear()

    def key(self, stage: str, variant: str | None = None) -> Key | None:
        """Return the key of a stage's result, or None while the checkpoint is not pinned."""
        return None if self.known_pin() is None else self._key(self.stage(stage), variant)

    def stage(self, name: str) -> Stage:
        """Return the stage of that name."""
        return stage_named(name, self.stages)

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
            "inputs": {name: self._key(self.stage(name), variant).sha256 for name in inputs},
        }

    def wanted_keys(self, variants: Iterable[str] | None = None) -> set[str]:
        """Return the digest of every artifact that these variants, or all, can still want."""
        if self.known_pin() is None:
            return set()
        names = tuple(self.recipe.variants if variants is None else variants)
        return {self._key(stage, name).sha256 for stage in self.stages for name in names}
