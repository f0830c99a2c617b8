"""`ovrecipe verify`: read every byte of the artifacts again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ovrecipe.cli.session import session_of
from ovrecipe.errors import ArtifactCorrupt, NotBuilt

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.store.store import Store
    from ovrecipe.store.verify import Problem


def command(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME[:VARIANT]]...", help="What to verify; everything if none."),
    ] = None,
    *,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove damaged artifacts; the next build makes them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Hash the files of built artifacts and compare them with what was built.

    A build trusts what is in the store; this command does not. Use it after a disk error or a
    copied store: 'ovrecipe verify', or 'ovrecipe verify smollm2-135m:int4' for one artifact and
    all that it was made from. Exits with 9 when anything is wrong.
    """
    from ovrecipe.store.store import Store

    project = session_of(ctx).project
    store = Store(project.store_dir)
    problems, checked = _verified(store, _chosen(store, project.models_dir, names or []))
    kept = _without_removed(store, problems) if remove else problems
    _print(problems, checked, removed=remove and not kept, as_json=as_json)
    if kept:
        damaged = _count(len({each.sha256 for each in kept}), "damaged artifact")
        raise ArtifactCorrupt(
            f"{store.root}: {damaged}",
            remedy="a build is working on them; verify again when it is done"
            if remove
            else "'ovrecipe verify --remove' drops them, the next build makes them again",
        )


def _chosen(store: Store, models_dir: Path, names: list[str]) -> set[str] | None:
    """Return the artifacts behind the named views and all that they were made from."""
    if not names:
        return None
    from ovrecipe.store.gc import reachable_from
    from ovrecipe.store.verify import readable_inputs

    folders = {sha256: folder for _, sha256, folder in store.folders()}
    roots = [each for name in names for each in _named(models_dir, name)]
    return reachable_from(roots, folders, inputs=readable_inputs)


def _named(models_dir: Path, name: str) -> list[str]:
    from ovrecipe.store.views import views

    wanted, _, variant = name.partition(":")
    found = [
        view.target.name
        for view in views(models_dir)
        if view.target is not None and view.name == wanted and variant in ("", view.variant)
    ]
    if not found:
        raise NotBuilt(f"{name} is not built", remedy=f"build it with 'ovrecipe build {name}'")
    return found


def _verified(store: Store, shas: set[str] | None) -> tuple[list[Problem], int]:
    from rich.console import Console

    from ovrecipe.store.verify import verify

    checked = sum(1 for _, sha256, _ in store.folders() if shas is None or sha256 in shas)
    with Console(stderr=True).status("verifying") as status:

        def show(
            message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
        ) -> None:
            status.update(f"{message} ({done or 0:.0f} of {total or 0:.0f})")

        return verify(store, shas, progress=show), checked


def _without_removed(store: Store, problems: list[Problem]) -> list[Problem]:
    """Remove the damaged artifacts and return the problems of those that a build uses."""
    damaged = sorted({(each.stage, each.sha256) for each in problems})
    used = {sha256 for stage, sha256 in damaged if not store.discard_if_unused(stage, sha256)}
    return [each for each in problems if each.sha256 in used]


def _print(problems: list[Problem], checked: int, *, removed: bool, as_json: bool) -> None:
    if as_json:
        found = [each._asdict() for each in problems]
        typer.echo(json.dumps({"checked": checked, "problems": found, "removed": removed}))
        return
    for each in problems:
        where = f"{each.stage} {each.sha256[:12]}" + (f": {each.file}" if each.file else "")
        typer.echo(f"{where}: {each.message}")
    verdict = _count(len(problems), "problem") if problems else "all as they were built"
    done = "; the damaged ones were removed, build again" if removed and problems else ""
    typer.echo(f"{_count(checked, 'artifact')} verified, {verdict}{done}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
