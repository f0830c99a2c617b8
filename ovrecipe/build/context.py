"""What a build works with: the project's folders, the store, the plugins; and recipes' plans."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovrecipe.build.memory import MemoryBudget
from ovrecipe.build.stages import STAGES, route_of, stage_named
from ovrecipe.build.stages.stage import CHECKPOINT, Stage
from ovrecipe.errors import SourceError
from ovrecipe.hooks.roles import (
    MAIN,
    Exporter,
    Nodes,
    Role,
    Source,
    SourceRequest,
    Toolchain,
    ToolchainChoice,
)
from ovrecipe.json_files import read_object
from ovrecipe.recipe.load import check_requirements, load_recipe
from ovrecipe.recipe.project import Project, named_by
from ovrecipe.recipe.schema import Recipe, split_model_id
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.disk import disk_errors, replace_atomically
from ovrecipe.store.key import Key, differences
from ovrecipe.store.pins import Pins
from ovrecipe.store.store import Store
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.remote import Remote
    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided

#: The longest that a cancelled build waits for its stages to clean up.
CANCEL_SECONDS = 15.0
CONFIG = f"{CHECKPOINT}/config.json"


@dataclass(eq=False, repr=False)
class BuildContext:
    """Made once per process, and shared by the threads that build; `stages` is the table."""

    project: Project
    _: KW_ONLY
    plugin_options: tuple[str, ...] = ()
    force: bool = False
    jobs: int = 2
    #: Whether what does not depend on a failure is built all the same.
    keep_going: bool = False
    #: The titles of what failed, for what needs it is not tried then.
    failed: set[str] = field(default_factory=set)
    stages: tuple[Stage, ...] = STAGES
    memory: MemoryBudget = field(default_factory=MemoryBudget)
    #: The machines of a cluster, where stages with a process run; None is this machine.
    nodes: Nodes | None = None
    _cancel: threading.Event = field(default_factory=threading.Event)
    _idle: threading.Condition = field(default_factory=threading.Condition)
    _at_work: int = 0
    _plans: dict[str, RecipePlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.project.store_dir)
        self.pins = Pins(self.project.lock_path)
        # Of the user's own files.
        self.digests = RememberedDigests(self.store.digests_path)

    @cached_property
    def plugins(self) -> Plugins:
        """Built-in and installed plugins, and those of `-p`."""
        from ovrecipe.hooks.plugins import load_plugins

        return load_plugins(env=self.project.env, options=self.plugin_options)

    @cached_property
    def remote(self) -> Remote | None:
        """The store elsewhere that is looked into before anything is built; None without one."""
        from ovrecipe.recipe.defaults import read_defaults

        configured = read_defaults(self.project.env, self.project.root).remote
        if configured is None:
            return None
        from ovrecipe.build.remote import Remote

        return Remote(configured.value)

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of that name, as `plan` has it."""
        return self.plan(name).recipe

    def plan(self, name: str) -> RecipePlan:
        """Return the plan of a recipe, read once.

        Raises:
            RecipeError: there is no such recipe, it is not valid, or wants what is not installed.
        """
        if name not in self._plans:
            recipe = load_recipe(self.project, name)
            check_requirements(recipe)
            self._plans[name] = RecipePlan(self, recipe)
        return self._plans[name]

    def forget_keys(self) -> None:
        """Let the keys of all recipes be computed anew."""
        for plan in list(self._plans.values()):
            plan.forget_keys()

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
    """The keys of one recipe's stages, known without building; None while a branch has no pin."""

    context: BuildContext
    recipe: Recipe
    _is_sound: bool = False
    _pin: Mapping[str, Json] | None = None
    _config: Mapping[str, Any] | None = None
    _choice: ToolchainChoice | None = None
    _keys: dict[tuple[str, str | None, str | None], Key] = field(default_factory=dict)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages on the route of the recipe's task."""
        return route_of(self.recipe.task, self.context.stages)

    def judge(self) -> None:
        """Refuse a recipe whose providers, options or templates cannot be used; judged once.

        Raises:
            OvrecipeError: what `ovrecipe validate` would say.
        """
        from ovrecipe.build.judge import raise_first, recipe_errors

        if not self._is_sound:
            raise_first(list(recipe_errors(self.recipe, self.context.plugins)))
            for stage in self.stages:
                for variant in stage.variants(self.recipe.variants):
                    self.companions(stage, variant)
            self._is_sound = True

    def provider(self, role: Role, name: str) -> Provided[Any]:
        """Return who plays a role under that name."""
        return self.context.plugins.provider(role, name, self.recipe)

    @cached_property
    def source(self) -> Provided[Source]:
        """Who brings the checkpoint."""
        return self.provider("source", split_model_id(self.recipe.model.id)[0])

    @cached_property
    def exporter(self) -> Provided[Exporter]:
        """Who exports the checkpoint."""
        return self.provider("exporter", self.recipe.model.exporter.name)

    def checkpoint_config(self) -> Mapping[str, Any] | None:
        """Return the checkpoint's config.json, also after it was collected; None before it came."""
        if self._config is None and self.known_pin() is not None:
            key, store = self.source_key, self.context.store
            path, kept_path = store.artifact_dir(key) / CONFIG, store.config_path(key)
            found = (read_object(place, error=SourceError) for place in (path, kept_path))
            self._config = next(filter(None, found), None)
            if self._config is not None and not kept_path.exists():
                # A store that cannot be written has its checkpoint still.
                with suppress(OSError):
                    self._keep_config(path.read_text(encoding="utf-8"))
        return self._config

    @property
    def source_key(self) -> Key:
        """The key of the checkpoint, once it is pinned."""
        return self.pinned_key(self.context.stages[0].name)

    def _keep_config(self, text: str) -> None:
        kept_path = self.context.store.config_path(self.source_key)
        kept_path.parent.mkdir(exist_ok=True)
        replace_atomically(kept_path, text, durable=False)

    def reads_config(self) -> bool:
        """Return whether keys behind the checkpoint depend on what its config.json says."""
        return self.recipe.model.toolchain is None and bool(self.exporter.traits.toolchains)

    def lacks_config(self) -> bool:
        """Return whether those keys are other ones as soon as the config.json is here."""
        return self.reads_config() and self.checkpoint_config() is None

    def learn_config(self, config: Mapping[str, Any]) -> None:
        """Keep the checkpoint's config.json, which another machine had.

        Raises:
            StoreNotWritable, DiskFull: the disk refused.
        """
        store = self.context.store
        store.prepare()
        with disk_errors(store.root):
            self._keep_config(json.dumps(config))
        # Keys of other recipes may depend on this one's, whose draft model it is.
        self.context.forget_keys()

    def toolchain_choice(self) -> ToolchainChoice:
        """Return in which environment the exporter works, and why.

        Before the checkpoint was ever here that is the main one: keys are other ones afterwards.
        """
        named = self.recipe.model.toolchain
        if named is not None:
            return ToolchainChoice(named, "the recipe names it")
        if self._choice is None and self.exporter.traits.toolchains:
            config = self.checkpoint_config()
            said = [] if config is None else self.exporter.optional("toolchain", config)
            self._choice = next(iter(said), None)
        return self._choice or ToolchainChoice(MAIN, "the exporter wants no other")

    def toolchain(self) -> Toolchain | None:
        """Return the toolchain that the exporter works in; None for the main environment."""
        wanted = self.toolchain_choice().name
        known = {toolchain.name: toolchain for toolchain in self.exporter.traits.toolchains}
        return known.get(str(wanted))

    def package_versions(self, names: Iterable[str]) -> dict[str, Json]:
        """Return what a key says about packages that a stage itself calls."""
        return {name: self.context.plugins.package_version(name) for name in sorted(names)}

    @property
    def pin(self) -> Mapping[str, Json]:
        """What identifies the checkpoint's content, once it is pinned."""
        found = self.known_pin()
        assert found is not None, "keys are asked for once the source is pinned"
        return found

    def known_pin(self) -> Mapping[str, Json] | None:
        """Return what identifies the checkpoint's content; None when only a network knows."""
        if self._pin is None and self.source.traits.needs_pin:
            self._pin = self.context.pins.get(self.recipe.model.id, self.recipe.model.revision)
        elif self._pin is None:
            self._pin = self._asked_pin()
        return self._pin

    def _asked_pin(self) -> dict[str, Json]:
        request = SourceRequest(
            recipe=self.recipe,
            location=split_model_id(self.recipe.model.id)[1],
            env=self.context.project.env,
            digests=self.context.digests,
        )
        with self.source.blamed():
            return self.source.facts(dict(self.source.provider.pin(request)))

    def resolve(self, *, update: bool = False) -> None:
        """Pin the checkpoint, asking the network when it is not pinned or `update` is set.

        Raises:
            SourceError: the checkpoint does not exist or cannot be asked for.
        """
        if not update and self.known_pin() is not None:
            return
        pin = self._asked_pin()
        if self.source.traits.needs_pin:
            self.context.pins.record(self.recipe.model.id, self.recipe.model.revision, pin)
        self._pin = pin
        self.forget_keys()

    def forget_keys(self) -> None:
        """Let keys be computed anew, for something that they depend on was learned."""
        self._keys.clear()

    def key(self, stage: str, variant: str | None = None) -> Key | None:
        """Return the key of a stage's result, or None while the checkpoint is not pinned."""
        found = stage_named(stage, self.stages)
        others = self.companions(found, variant).values()
        if any(plan.known_pin() is None for plan in (self, *(plan for plan, _ in others))):
            return None
        return self.pinned_key(stage, variant)

    def companions(self, stage: Stage, variant: str | None) -> dict[str, tuple[RecipePlan, str]]:
        """Return the other variants whose directories a stage reads, by what it calls them.

        Raises:
            RecipeError: there is no such recipe or variant.
        """
        found: dict[str, tuple[RecipePlan, str]] = {}
        for called, target in stage.companions(self.recipe, variant).items():
            recipe, other = named_by(target, self.context.recipe)
            found[called] = self.context.plan(recipe.name), str(other)
        return found

    def pinned_key(self, stage: str, variant: str | None = None) -> Key:
        """Return the key of a stage's result once the checkpoint is pinned."""
        found = stage_named(stage, self.stages)
        variant = variant if found.per_variant else None
        # Once the checkpoint is here, its architecture may want a toolchain, which keys name.
        is_source = stage == self.context.stages[0].name
        place = (stage, variant, None if is_source else self.toolchain_choice().name)
        key = self._keys.get(place)  # another thread may learn what changes them all
        if key is None:
            inputs = found.inputs(self.recipe, variant)
            document: dict[str, Json] = {
                **found.fields(self, variant),
                "stage_version": found.version,
                "inputs": {
                    **{name: self.pinned_key(name, variant).sha256 for name in inputs},
                    **{
                        called: plan.directory_key(other).sha256
                        for called, (plan, other) in self.companions(found, variant).items()
                    },
                },
            }
            self._keys[place] = key = Key(stage, document)
        return key

    def directory_key(self, variant: str) -> Key:
        """Return the key of the directory that a variant's view leads to."""
        published = next(stage for stage in self.stages if stage.publishes)
        return self.pinned_key(published.name, variant)

    def changed_fields(self, stage: Stage, variant: str | None) -> list[str]:
        """Return which fields of a stage's key the user's files contradict by now.

        Only its own fields: what its inputs were made from is in the store, or linked from it.

        Raises:
            OvrecipeError: a file cannot be read any more.
        """
        key, now = self.pinned_key(stage.name, variant), RecipePlan(self.context, self.recipe)
        if self.source.traits.needs_pin:
            now._pin = self._pin  # a commit never changes, and asking may take a network
        fields = Key(stage.name, {**key.document, **stage.fields(now, variant)})
        return [found.path for found in differences(fields.document, key.document)]

    def wanted_keys(self, variants: Collection[str] | None = None) -> set[str]:
        """Return the digest of every artifact that these variants, or all, can still want."""
        if self.known_pin() is None:
            return set()
        wanted = self.recipe.variants if variants is None else variants
        found = (
            self.key(stage.name, variant)
            for stage in self.stages
            for variant in stage.variants(wanted)
        )
        return {key.sha256 for key in found if key is not None}
