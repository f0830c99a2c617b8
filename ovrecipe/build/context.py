"""What a build works with: the project's folders, the store, the plugins."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ovrecipe.build.admission import Turns
from ovrecipe.build.plan import RecipePlan
from ovrecipe.recipe.load import check_requirements, load_recipe
from ovrecipe.store.digests import RememberedDigests
from ovrecipe.store.pins import Pins
from ovrecipe.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe


#: The longest that a cancelled build waits for its stages to clean up.
CANCEL_SECONDS = 15.0


class BuildContext:
    """Made once per process; doit's own child processes make theirs from the same settings."""

    def __init__(
        self,
        project: Project,
        *,
        plugin_options: tuple[str, ...] = (),
        force: bool = False,
        jobs: int = 2,
    ) -> None:
        self.project = project
        self.plugin_options = plugin_options
        self.force = force
        self.jobs = jobs
        self.store = Store(project.store_dir)
        self.turns = Turns()
        self._cancel = threading.Event()
        self._judged: set[str] = set()
        self._idle = threading.Condition()
        self._at_work = 0
        self._plans: dict[str, RecipePlan] = {}
        self._requested: dict[str, dict[str, None]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings only."""
        return _rebuild, (self.project, self.plugin_options, self.force, self.jobs)

    @cached_property
    def plugins(self) -> Plugins:
        """Built-in and installed plugins, and those of `-p`."""
        from ovrecipe.hooks.plugins import load_plugins

        return load_plugins(env=self.project.env, options=self.plugin_options)

    @cached_property
    def digests(self) -> RememberedDigests:
        """Digests of the user's own files, remembered in the store."""
        return RememberedDigests(self.digests_path)

    @property
    def digests_path(self) -> Path:
        """Where the digests are remembered."""
        return self.store.digests_path

    @cached_property
    def pins(self) -> Pins:
        """The commits that branches meant."""
        return Pins(self.project.lock_path)

    def request(self, name: str, variant: str) -> None:
        """Note that a variant will be built in this run, for its preflight."""
        self._requested.setdefault(name, {})[variant] = None

    def requested(self, name: str) -> tuple[str, ...]:
        """Return the variants of a recipe that will be built in this run."""
        return tuple(self._requested.get(name, ()))

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
        """Count a stage at work, for `cancel` to wait for."""
        with self._idle:
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
        return RecipePlan(recipe, self.project, self.plugins, self.digests, self.pins)


def _rebuild(
    project: Project,
    plugin_options: tuple[str, ...],
    force: bool,  # noqa: FBT001 - pickle passes by position
    jobs: int,
) -> BuildContext:
    return BuildContext(project, plugin_options=plugin_options, force=force, jobs=jobs)
