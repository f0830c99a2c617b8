"""`ovrecipe gc`, `rm` and `verify`: what may go from the store, and whether it is whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.completion import TargetArgument, recipe_argument
from ovrecipe.cli.output import AsJson, DryRun, print_json, status
from ovrecipe.cli.session import session_of, targets_of
from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt, OvrecipeError, StoreError
from ovrecipe.recipe.project import named_by, recipe_names
from ovrecipe.store.descent import Place, descendants, remove_youngest_first
from ovrecipe.store.gc import GcPlan, collect, in_use, plan_gc, reachable_from, viewed
from ovrecipe.store.manifest import UPGRADE, Damage
from ovrecipe.store.manifest import verify as verify_artifacts
from ovrecipe.store.views import REFUSED, View, remove_view, views
from ovrecipe.wording import SHORT, amount, counted

if TYPE_CHECKING:
    from ovrecipe.build.context import BuildContext
    from ovrecipe.store.store import Store


def gc(
    ctx: typer.Context,
    *,
    dry_run: DryRun = False,
    intermediates: Annotated[
        bool,
        typer.Option(
            "--intermediates",
            help="Also remove checkpoints and base IRs of what is built; a new variant of the "
            "same model then has to make them again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove artifacts that neither a named view nor a recipe of this project needs.

    What was built from old settings, stages left by killed builds, caches of removed artifacts
    and logs older than 30 days go; what a running build uses stays. 'ovrecipe rm' removes what is
    needed.

    Example: ovrecipe gc --dry-run
    """
    from ovrecipe.build.stages import intermediate_stages

    context = session_of(ctx).build_context()
    claims, unplanned = _claims(context)
    roots = viewed(context.store, context.project.models_dir).union(*claims.values())
    dropped = intermediate_stages() if intermediates else ()
    plan = plan_gc(context.store, roots, drop_stages=dropped)
    owners = _owners(context.store, claims)
    done = plan if dry_run else collect(context.store, plan)
    _print_removed(done, owners, as_json=as_json, dry_run=dry_run, unplanned=unplanned)


def _claims(context: BuildContext) -> tuple[dict[str, set[str]], list[str]]:
    """Return the keys that recipes want, by `NAME:VARIANT`, and which recipes have no plan now.

    These (a plugin or the checkpoint's disk is missing) block no clean-up; their views count.
    """
    claims: dict[str, set[str]] = {}
    unplanned = []
    for name in recipe_names(context.project):
        try:
            plan = context.plan(name)
            for variant in plan.recipe.variants:
                claims[f"{name}:{variant}"] = plan.wanted_keys([variant])
        except OvrecipeError as error:
            unplanned.append(name)
            typer.echo(f"{name}: only what its views lead to is kept: {error.message}", err=True)
    return claims, unplanned


def _owners(store: Store, claims: Mapping[str, set[str]]) -> dict[str, str]:
    """Return for whom each artifact was made, if noted, or who wants it when they no longer do."""
    owners = {}
    for _, sha256, manifest in store.artifacts(damaged=lambda _: None):
        if isinstance(made_for := manifest.facts.get("made_for"), str):
            owners[sha256] = made_for
    for sha256 in set[str]().union(*claims.values()):
        targets = [target for target, keys in claims.items() if sha256 in keys]
        recipes = sorted({target.partition(":")[0] for target in targets})
        if owners.get(sha256) not in {*targets, *recipes}:
            owners[sha256] = targets[0] if len(targets) == 1 else " and ".join(recipes)
    return owners


def _print_removed(
    plan: GcPlan, owners: dict[str, str], *, as_json: bool, dry_run: bool, **more: Any
) -> None:
    rows = [(owners.get(Path(removal.name).name), removal) for removal in plan.removals]
    if as_json:
        removals = [{**asdict(removal), "recipe": owner} for owner, removal in rows]
        print_json({"dry_run": dry_run, **more, **asdict(plan), "removals": removals})
        return
    for view in more.get("views", ()):
        typer.echo(f"{'':10}  view      {view}")
    for owner, removal in rows:
        whose = owner or ("of no recipe" if removal.kind == "artifact" else "")
        name = re.sub(r"[0-9a-f]{64}", lambda sha256: sha256[0][:SHORT], removal.name)
        typer.echo(f"{amount(removal.size_bytes):>10}  {removal.kind:9} {whose:24} {name}")
    counts = Counter[str](removal.kind for removal in plan.removals)
    counts["view"] = len(more.get("views", ()))
    found = [counted(number, kind) for kind, number in sorted(counts.items()) if number]
    what = ", ".join(found) or "nothing"
    verb, freed = "would be removed" if dry_run else "removed", amount(plan.freed_bytes)
    typer.echo(f"{what} {verb}, {freed} freed, {counted(plan.kept, 'artifact')} kept")


def rm(
    ctx: typer.Context, target: TargetArgument, *, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Remove a built variant, or all of a recipe: its named view and what only it needs.

    The recipe stays, and so does what another recipe, variant or view needs. Exits with 10 when
    nothing is there, and with 9, removing nothing, while a build works on it.

    Example: ovrecipe rm smollm2-135m:int8 --dry-run
    """
    context = session_of(ctx).build_context()
    store, models_dir = context.store, context.project.models_dir
    own_views = _views_of(models_dir, target)
    if not own_views:
        targets_of(context, [target])
    claims, _ = _claims(context)
    owners = _owners(store, claims)
    own = {key for name, keys in claims.items() if _is_of(name, target) for key in keys}
    needed = {key for name, keys in claims.items() if not _is_of(name, target) for key in keys}
    places = {view.path.parents[1].resolve() / view.name / view.variant for view in own_views}
    needed |= viewed(store, models_dir, without=places)
    folders = {sha256: folder for _, sha256, folder in store.folders()}
    nobodys = folders.keys() - reachable_from(needed | own | viewed(store, models_dir), folders)
    # What nobody needs is left to gc, but for what was made for this target.
    needed |= {key for key in nobodys if not _is_of(owners.get(key, ""), target)}
    plan = plan_gc(store, needed, only=folders)
    doomed = {Path(removal.name).name for removal in plan.removals}
    if ((own - needed) | doomed).intersection(in_use(store)):
        raise StoreError(f"a running build works on {target}", remedy="wait for it, or stop it")
    if not own_views and not doomed:
        raise NotBuilt(f"{target} is not built", remedy="'ovrecipe list' shows what is")
    if not dry_run:
        for view in own_views:
            remove_view(view.path.parents[1], view.name, view.variant)
        plan = collect(store, plan)
    names = [f"{view.name}:{view.variant}" for view in own_views]
    _print_removed(plan, owners, as_json=as_json, dry_run=dry_run, views=names)


def _is_of(name: str, target: str) -> bool:
    """Return whether `NAME` or `NAME:VARIANT` is the target, or a variant of it."""
    return name == target or name.startswith(f"{target}:")


def _views_of(models_dir: Path, target: str) -> list[View]:
    """Return the views of a recipe or variant, those to what a gate refused as well."""
    found = chain(views(models_dir), views(models_dir / REFUSED))
    return [view for view in found if _is_of(f"{view.name}:{view.variant}", target)]


def verify(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        recipe_argument(
            "[NAME[:VARIANT]]...",
            "What to verify, with all that it was made from; the whole store if none.",
        ),
    ] = None,
    *,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove",
            help="Remove damaged artifacts and what was made from them; the next build makes them.",
        ),
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build again beside it and compare every file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hash the files of built artifacts and compare them with what was built.

    A build reads bytes again only where a file's size or time changed; this command reads all.
    Use it after a disk error or a copied store. What was made from a damaged artifact is named
    too. With --rebuild the variants are built once more, from the checkpoint on, in a folder that
    is removed afterwards, and every file that is not the same is named. Exits with 9 when anything
    is wrong or differs.

    Examples: 'ovrecipe verify smollm2-135m:int4', 'ovrecipe verify --rebuild smollm2-135m'.
    """
    context = session_of(ctx).build_context()
    if rebuild:
        _verify_by_building(context, names or [], remove=remove, as_json=as_json)
        return
    store = context.store
    chosen = _chosen(context, names or [])
    too_new: list[ArtifactTooNew] = []
    problems = _problems(store, chosen, too_new.append)
    damaged = {Place(problem.stage, problem.sha256) for problem in problems}
    spreading = {Place(problem.stage, problem.sha256) for problem in problems if problem.spreads}
    follow = descendants(store, spreading)
    doomed = damaged | follow.keys()
    gone = remove_youngest_first(store, doomed) if remove else set()
    if as_json:
        _print_verified_json(problems, follow, checked=len(chosen), removed=len(gone))
    else:
        for line in _verified_lines(problems, follow, too_new):
            typer.echo(line)
        checked = counted(len(chosen) - len(too_new), "artifact")
        verdict = counted(len(problems), "problem") if problems else "all as they were built"
        done = f"; {counted(len(gone), 'artifact')} removed, build again" if gone else ""
        typer.echo(f"{checked} verified, {verdict}{done}")
    if left := doomed - gone:
        raise _damage_left(store, damaged & left, follow.keys() & left, remove=remove)
    if too_new:
        what = counted(len(too_new), "artifact")
        raise ArtifactTooNew(f"{store.root}: a newer ovrecipe made {what}", remedy=UPGRADE)


def _verified_lines(
    problems: list[Damage], follow: Mapping[Place, Place], too_new: list[ArtifactTooNew]
) -> Iterator[str]:
    yield from (error.message for error in too_new)
    for problem in problems:
        place = str(Place(problem.stage, problem.sha256))
        yield ": ".join(filter(None, (place, problem.file, problem.message)))
    yield from (f"{place}: was made from {origin}" for place, origin in follow.items())


def _print_verified_json(
    problems: list[Damage], follow: Mapping[Place, Place], *, checked: int, removed: int
) -> None:
    rows = [
        {"stage": place.stage, "sha256": place.sha256, "made_from": origin.sha256}
        for place, origin in follow.items()
    ]
    print_json(
        {
            "checked": checked,
            "problems": [problem._asdict() for problem in problems],
            "descendants": rows,
            "removed": removed,
        }
    )


def _damage_left(
    store: Store, damaged: Collection[Place], follow: Collection[Place], *, remove: bool
) -> ArtifactCorrupt:
    """Return the error for what is still there."""
    remedy = "'ovrecipe verify --remove' drops them, the next build makes them again"
    if remove:
        remedy = "a build is working on them; verify again when it is done"
    what = counted(len(damaged), "damaged artifact")
    made = f" and {len(follow)} made from such" if follow else ""
    return ArtifactCorrupt(f"{store.root}: {what}{made}", remedy=remedy)


def _verify_by_building(
    context: BuildContext, names: list[str], *, remove: bool, as_json: bool
) -> None:
    from ovrecipe.build.rebuild import rebuilt
    from ovrecipe.cli.build_commands import watching

    if remove or not names:
        problem = "removes nothing" if remove else "builds variants, so it needs a NAME"
        raise typer.BadParameter(f"--rebuild {problem}")
    targets = targets_of(context, names)
    with watching(quiet=False) as watch:
        found = rebuilt(context, targets, watch)
    if as_json:
        rows = [one._asdict() for one in found.differences]
        print_json({"compared": found.files, "differences": rows, "missing": found.missing})
    else:
        for stage, file, message in found.differences:
            typer.echo(f"{stage}: {file}: {message}")
        for stage in found.missing:
            typer.echo(f"{stage}: not compared, it was collected")
        verdict = (
            counted(len(found.differences), "difference") if found.differences else "all equal"
        )
        typer.echo(f"{counted(found.files, 'file')} built again, {verdict}")
    if found.differences:
        count = counted(len(found.differences), "file")
        remedy = (
            "compare 'tools' in the manifests: other versions, or a machine that rounds otherwise"
        )
        raise ArtifactCorrupt(f"building again gives {count} with other bytes", remedy=remedy)


def _chosen(context: BuildContext, names: list[str]) -> set[str]:
    """Return the artifacts behind the named views and what they were made from; all if none."""
    folders = {sha256: folder for _, sha256, folder in context.store.folders()}
    roots: set[str] = set()
    for name in names:
        own_views = _views_of(context.project.models_dir, name)
        found = {view.target.name for view in own_views if view.target}
        if not found:
            named_by(name, context.recipe)
            raise NotBuilt(f"{name} is not built", remedy=f"build it with 'ovrecipe build {name}'")
        roots |= found
    return reachable_from(roots, folders, skip_damaged=True) if names else set(folders)


def _problems(
    store: Store, chosen: set[str], too_new: Callable[[ArtifactTooNew], None]
) -> list[Damage]:
    with status("verifying") as shown:

        def show(message: str, *, done: Any = 0, total: Any = 0, unit: str = "") -> None:  # noqa: ARG001
            shown.update(f"{message} ({done:.0f} of {total:.0f})")

        folders = [found for found in store.folders() if found[1] in chosen]
        return verify_artifacts(folders, too_new=too_new, progress=show)
