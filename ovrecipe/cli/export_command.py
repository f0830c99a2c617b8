"""`ovrecipe export`: a built variant as files that other machines and programs open."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from ovrecipe.cli.completion import TargetArgument
from ovrecipe.cli.output import AsJson, print_json, status
from ovrecipe.cli.session import Session, session_of
from ovrecipe.recipe.project import named_by
from ovrecipe.wording import amount, counted


def command(
    ctx: typer.Context,
    target: TargetArgument,
    folder: Annotated[
        Path | None,
        Argument(metavar="[DIR]", help="Where to; new, empty, or an export from before."),
    ] = None,
    *,
    ovms: Annotated[
        bool,
        Option("--ovms", help="Also write what OpenVINO Model Server and docker compose read."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a built variant as plain files: no links, no store, all that is needed to use it.

    Any OpenVINO program opens the folder, and 'ovrecipe run DIR' where there is no project. Its
    README.md has the commands, ovrecipe.json the recipe, digests, versions and figures. Exporting
    again copies only what changed. A bare NAME is its int4 variant if built, else the smallest.

    Example: ovrecipe export smollm2-135m:int4 out/
    """
    if folder is None:
        raise typer.BadParameter("say where to", param_hint="DIR")
    from ovrecipe.deliver.contents import contents_of

    session = session_of(ctx)
    context = session.build_context()
    contents = contents_of(context, _chosen(session, target), ovms=ovms)
    said: list[str] = []
    document: dict[str, Any] = {"target": contents.export.target}
    with status(f"exporting {contents.export.target}") as shown:

        def progress(message: str, **_: Any) -> None:
            shown.update(f"{contents.export.target}: {message}")

        if folder is not None:
            from ovrecipe.deliver.folder import write_folder

            done = write_folder(contents, folder, env=session.env, progress=progress)
            document["folder"] = str(folder)
            document |= {"written": [*done.written], "kept": [*done.kept]}
            document["removed"] = [*done.removed]
            new = f"{counted(len(done.written), 'file')} written, {len(done.kept)} kept"
            said.append(f"{folder}: {new if done.changed else 'nothing to do, all is there'}")
    if as_json:
        print_json({**document, "size_bytes": contents.size_bytes})
        return
    typer.echo(f"{contents.export.target}, {amount(contents.size_bytes)}")
    for line in said:
        typer.echo(f"  {line}")


def _chosen(session: Session, word: str) -> Any:
    """Return the variant that is meant."""
    from ovrecipe.build.run import Target
    from ovrecipe.run.artifact import find_artifact

    recipe, variant = named_by(word, session.recipe)
    if variant is None:
        variant = find_artifact(session.project, recipe, None).variant
    return Target(recipe.name, variant)
