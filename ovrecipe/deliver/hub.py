"""Uploading an export to a repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.hub import translated
from ovrecipe.errors import OvrecipeError, ProjectError
from ovrecipe.recipe.schema import model_id_objection
from ovrecipe.run.exported import EXPORT, read_export
from ovrecipe.store import locks
from ovrecipe.version import __version__

if TYPE_CHECKING:
    from ovrecipe.deliver.contents import Contents

SCHEME = "hub:"
#: What the hub makes by itself, or people write before there is a model.
HARMLESS = {".gitattributes", "README.md", "LICENSE"}


def repo_of(destination: str) -> str:
    """Return `ORG/NAME` of `hub:ORG/NAME`.

    Raises:
        ProjectError: it is something else.
    """
    repo_id = destination.removeprefix(SCHEME)
    if repo_id == destination or "/" not in repo_id or model_id_objection(repo_id):
        raise ProjectError(
            f"--to {destination}: is no repository of the hub", remedy="write hub:ORG/NAME"
        )
    return repo_id


def upload(contents: Contents, repo_id: str, *, env: Mapping[str, str], public: bool) -> str:
    """Upload the export and return the address of the commit; what is there is not sent again.

    A repository that is not there is made, for its owner alone unless `public`. What an export
    from before wrote there and this one has not is deleted in the same commit, and nothing else.

    Raises:
        ProjectError: the repository has something that is no export of ours.
        SourceError: the hub did not answer or refused.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(
        endpoint=env.get("HF_ENDPOINT") or None,
        token=env.get("HF_TOKEN") or None,
        library_name="ovrecipe",
        library_version=__version__,
    )
    with (
        locks.used(contents.store.use_path(contents.export.artifact)),
        translated(repo_id, "main"),
    ):
        api.create_repo(repo_id, private=not public, exist_ok=True)
        present = set(api.list_repo_files(repo_id))
        if EXPORT not in present and (foreign := sorted(present - HARMLESS)):
            raise ProjectError(
                f"{repo_id} has {foreign[0]} and more, and no export of ovrecipe's",
                remedy="name another repository, or empty this one",
            )
        wanted = contents.entries
        before = _written_before(api, repo_id) if EXPORT in present else set()
        operations = [
            *(
                CommitOperationAdd(name, str(source) if isinstance(source, Path) else source)
                for name, source in wanted.items()
            ),
            # What is gone already cannot be deleted.
            *map(CommitOperationDelete, sorted((before & present) - wanted.keys())),
        ]
        message = f"{contents.export.target} by {contents.export.made_by}"
        try:
            done = api.create_commit(repo_id, operations, commit_message=message)
        except RuntimeError as error:
            # So its threads say that one file failed; the reason is the cause.
            if isinstance(error.__cause__, Exception):
                raise error.__cause__ from error
            raise
    return str(done.commit_url)


def _written_before(api: Any, repo_id: str) -> set[str]:
    """Return the names of what the export that is there wrote.

    Raises:
        ProjectError: nobody knows what of the repository is ours.
    """
    with TemporaryDirectory() as folder:
        api.hf_hub_download(repo_id, EXPORT, local_dir=folder)
        try:
            export = read_export(Path(folder))
        except OvrecipeError as error:
            reason = error.message.replace(f"{Path(folder) / EXPORT}: ", "")
            raise ProjectError(
                f"{repo_id}: its {EXPORT} cannot be understood: {reason}",
                remedy=f"name another repository, or remove {EXPORT} and the export's files there",
            ) from error
    return {*export.files, *export.beside}
