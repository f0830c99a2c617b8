"""`ovrecipe export`: a built variant as files that other machines and programs open."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ovrecipe.cli.completion import TargetArgument
from ovrecipe.cli.output import AsJson, print_json, status
from ovrecipe.cli.session import Session, session_of
from ovrecipe.recipe.project import named_by
from ovrecipe.types import Progress
from ovrecipe.wording import amount, counted

if TYPE_CHECKING:
    from ovrecipe.deliver.contents import Contents


def command(
    ctx: typer.Context,
    target: TargetArgument,
    folder: Annotated[
        Path | None,
        Argument(metavar="[DIR]", help="Where to; new, empty, or an export from before."),
    ] = None,
    *,
    tar: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write a tar file, the same bytes each time."),
    ] = None,
    to: Annotated[
        str | None,
        Option(metavar="hub:ORG/NAME", help="Upload to a repository of the Hugging Face hub."),
    ] = None,
    public: Annotated[
        bool, Option("--public", help="Let all see a repository that --to makes.")
    ] = False,
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
    if folder is None and tar is None and to is None:
        raise typer.BadParameter("say where to: DIR, --tar or --to", param_hint="DIR")
    if public and to is None:
        raise typer.BadParameter("means nothing without --to", param_hint="--public")
    from ovrecipe.deliver.contents import contents_of

    session = session_of(ctx)
    repo_id = _checked(tar, to)
    chosen = _chosen(session, target)
    with status(f"exporting {chosen}") as shown:

        def progress(message: str, **_: Any) -> None:
            shown.update(f"{chosen}: {message}")

        contents = contents_of(session.build_context(), chosen, ovms=ovms)
        document: dict[str, Any] = {"target": str(chosen), "size_bytes": contents.size_bytes}
        if folder is not None:
            document |= _into_folder(contents, folder, session, progress)
        if tar is not None:
            from ovrecipe.deliver.archive import write_tar

            write_tar(contents, tar, env=session.env, progress=progress)
            document["tar"] = str(tar)
        if repo_id is not None:
            from ovrecipe.deliver.hub import upload

            progress(f"uploading to {repo_id}")
            document["commit"] = upload(contents, repo_id, env=session.env, public=public)
    if as_json:
        print_json(document)
        return
    typer.echo("\n".join(_lines(document)))


def _into_folder(
    contents: "Contents", folder: Path, session: Session, progress: Progress
) -> dict[str, Any]:
    from ovrecipe.deliver.folder import write_folder

    done = write_folder(contents, folder, env=session.env, progress=progress)
    return {"folder": str(folder), **{name: [*files] for name, files in asdict(done).items()}}


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what people read of what was done."""
    yield f"{document['target']}, {amount(document['size_bytes'])}"
    if "folder" in document:
        written, kept = document["written"], document["kept"]
        new = f"{counted(len(written), 'file')} written, {len(kept)} kept"
        done = new if written or document["removed"] else "nothing to do, all is there"
        yield f"  {document['folder']}: {done}"
    if "tar" in document:
        yield f"  {document['tar']}: written"
    if "commit" in document:
        yield f"  {document['commit']}"


def _checked(tar: Path | None, to: str | None) -> str | None:
    """Refuse what cannot be written to before anything is; return the repository, if there is one.

    Raises:
        ProjectError: it cannot.
    """
    from ovrecipe.deliver.archive import check_tar_path
    from ovrecipe.deliver.hub import repo_of

    if tar is not None:
        check_tar_path(tar)
    return None if to is None else repo_of(to)


def _chosen(session: Session, word: str) -> Any:
    """Return the variant that is meant."""
    from ovrecipe.build.run import Target
    from ovrecipe.run.artifact import find_artifact

    recipe, variant = named_by(word, session.recipe)
    if variant is None:
        variant = find_artifact(session.project, recipe, None).variant
    return Target(recipe.name, variant)
