"""Why a stage would run: the wanted key beside the nearest stored one of the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.store.key import differences, nearest
from ovrecipe.store.views import view_target
from ovrecipe.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target
    from ovrecipe.errors import ArtifactCorrupt


def reasons(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row for every stage of the targets, in the order of the route.

    Raises:
        OvrecipeError: a recipe cannot be read, or its keys cannot be known.
    """
    rows: dict[str, dict[str, Any]] = {}
    for target in targets:
        plan = context.plan(target.name)
        for stage in plan.stages:
            [variant] = stage.variants([target.variant])
            work = Work(context, plan, stage, variant)
            if work.title not in rows:
                rows[work.title] = {} if work.is_done() else _reason(work)
        view = ViewWork(context, plan, target.variant)
        no_view = {"reason": "no view leads to a checked artifact of this recipe"}
        rows[view.title] = {} if view.is_done() else no_view
    return [
        {"stage": title, "up_to_date": not row, "differences": [], **row}
        for title, row in rows.items()
    ]


def _reason(work: Work) -> dict[str, Any]:
    key, store = work.key(), work.context.store
    if key is None:
        return {"reason": "the checkpoint was not asked for yet, so its commit is unknown"}
    if store.has(key):
        return {"reason": "files that it links to are gone"}
    log_path = store.logs_dir / f"{key.stage}-{key.short}.log"
    if log_path.exists():
        return {"reason": f"failed when it was last built; its log is {log_path}"}
    damaged: list[ArtifactCorrupt] = []
    stored = nearest(store, key, damaged.append, among=_related(work))
    left_out = ""
    if damaged:
        what = counted(len(damaged), "damaged artifact")
        left_out = f" (not compared: {what}, see 'ovrecipe verify')"
    if stored is None:
        return {"reason": f"never built{left_out}"}
    found = [
        {"field": field, "stored": before, "wanted": after}
        for field, before, after in differences(key.document, stored.key)
    ]
    return {"reason": f"not built with these settings{left_out}", "differences": found}


def _related(work: Work) -> set[str]:
    """Return what is of the recipe's model: made from what it wants, or in or beside its views.

    Everything else in the store is another model's, and no neighbour of what is missing.
    """
    store, plan = work.context.store, work.plan
    damaged: list[ArtifactCorrupt] = []
    artifacts = store.artifacts(damaged.append)
    inputs = {sha256: set(manifest.inputs) for _, sha256, manifest in artifacts}
    models_dir = work.context.project.models_dir
    views = [view_target(models_dir, plan.recipe.name, variant) for variant in plan.recipe.variants]
    waiting = [target.name for target in views if target is not None]
    related = plan.wanted_keys()
    while waiting:
        sha256 = waiting.pop()
        related.add(sha256)
        waiting += inputs.get(sha256, set()) - related
    while grown := {made for made, read in inputs.items() if read & related} - related:
        related |= grown
    return related
