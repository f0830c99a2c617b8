"""The end of the route: `models/NAME/VARIANT` leads to an artifact that passed its gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovrecipe.errors import OvrecipeError, StageError
from ovrecipe.store.views import leads_to, remove_view, set_view

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.observer import Observer
    from ovrecipe.build.plan import RecipePlan


@dataclass(frozen=True, repr=False)
class ViewWork:
    """One variant of one recipe, under its name."""

    context: BuildContext
    plan: RecipePlan
    variant: str

    @property
    def title(self) -> str:
        """How the work is called on screen."""
        return f"build {self.plan.recipe.name}:{self.variant}"

    def __repr__(self) -> str:
        """Return the title: doit prints it where a recipe and a project would fill the screen."""
        return f"<{self.title}>"

    def task_title(self, task: object) -> str:  # noqa: ARG002
        """Return the title, as doit asks for it."""
        return self.title

    @property
    def artifact_dir(self) -> Path | None:
        """The directory that the view shall lead to; None while the checkpoint is not pinned."""
        key = self.plan.key("assemble", self.variant)
        return None if key is None else self.context.store.artifact_dir(key)

    def is_built(self) -> bool:
        """Return whether the view leads to what the recipe asks for, and that passed its gates."""
        gate = self.plan.key("check", self.variant)
        if gate is None or not self.context.store.has(gate):
            return False
        view = self.context.project.models_dir / self.plan.recipe.name / self.variant
        return self.artifact_dir is not None and leads_to(view, self.artifact_dir)

    def is_up_to_date(self) -> bool:
        """Answer doit; what cannot be known is not up to date, and building it says why."""
        try:
            built = self.is_built()
        except OvrecipeError:
            built = False
        if not built:
            self.context.request(self.plan.recipe.name, self.variant)
        return built

    def do(self, observer: Observer) -> None:  # noqa: ARG002
        """Set the view."""
        gate = self.plan.key("check", self.variant)
        artifact_dir = self.artifact_dir
        if gate is None or artifact_dir is None or not self.context.store.has(gate):
            raise StageError(f"{self.title}: its gate was not passed, so it gets no name")
        models_dir = self.context.project.models_dir
        set_view(models_dir, self.plan.recipe.name, self.variant, artifact_dir)

    def clean(self) -> None:
        """Remove the view; the artifact stays in the store until `ovrecipe gc`."""
        if remove_view(self.context.project.models_dir, self.plan.recipe.name, self.variant):
            print(f"removed models/{self.plan.recipe.name}/{self.variant}")
