"""Why a stage would run: the wanted key beside the nearest stored one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.stages import STAGES
from ovrecipe.store.key import differences, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target
    from ovrecipe.errors import ArtifactCorrupt


def reasons(context: BuildContext, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return a row for every stage of the targets, in the order of the route."""
    rows: dict[str, dict[str, Any]] = {}
    for target in targets:
        plan = context.plan(target.name)
        for stage in STAGES:
            work = Work(context, plan, stage, target.variant if stage.per_variant else None)
            if work.title not in rows:
                rows[work.title] = _row(work)
        view = ViewWork(context, plan, target.variant)
        rows[view.title] = _view_row(view)
    return list(rows.values())


def _row(work: Work) -> dict[str, Any]:
    row: dict[str, Any] = {"stage": work.title, "up_to_date": work.is_done(), "differences": []}
    key = work.key()
    if row["up_to_date"]:
        return row
    if key is None:
        return row | {"reason": "the checkpoint was not asked for yet, so its commit is unknown"}
    if work.context.store.has(key):
        return row | {"reason": "files that it links to are gone"}
    damaged: list[ArtifactCorrupt] = []
    stored = nearest(work.context.store, key, damaged.append)
    left_out = _left_out(len(damaged))
    if stored is None:
        return row | {"reason": f"nothing of its kind was ever built{left_out}"}
    found = [
        {"field": field, "stored": before, "wanted": after}
        for field, before, after in differences(key.document, stored.key)
    ]
    return row | {"reason": f"not built with these settings{left_out}", "differences": found}


def _left_out(number: int) -> str:
    if not number:
        return ""
    what = "1 damaged artifact" if number == 1 else f"{number} damaged artifacts"
    return f" (not compared: {what}, see 'ovrecipe verify')"


def _view_row(work: ViewWork) -> dict[str, Any]:
    built = work.is_built()
    row: dict[str, Any] = {"stage": work.title, "up_to_date": built, "differences": []}
    return row if built else row | {"reason": "no view leads to a checked artifact of this recipe"}
