"""The `hub` source: a model on the Hugging Face hub, at one commit, in its client's own cache."""

from __future__ import annotations

import glob
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.checkpoint import check_contents, check_names
from ovrecipe.builtin.hub_files import translated, wanted_files
from ovrecipe.builtin.local import link_files
from ovrecipe.errors import CheckpointIncomplete, HubUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovrecipe.hooks.roles import SourceRequest
    from ovrecipe.recipe.schema import Model
    from ovrecipe.types import Json, Progress


def progress_bar(progress: Progress) -> Any:
    """Return a tqdm class whose byte counts go to `progress`."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class ReportedBar(tqdm):  # type: ignore[misc]
        """Counts as tqdm does, at its pace; the bar that counts files stays silent."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
            if self.unit == "B":
                progress("downloading", done=self.n, total=self.total or None)

    return ReportedBar


COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_REVISION = "main"
TRUE = {"1", "ON", "YES", "TRUE"}


class HubSource:
    """Reads `model.id: ORG/NAME`."""

    packages = ()
    version = 1
    needs_pin = True

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the commit that the revision means now; a full commit is not asked for."""
        client = _client(request)
        revision = request.model.revision or DEFAULT_REVISION
        return {
            "repo_id": client.repo_id,
            "revision": revision,
            "commit": revision if COMMIT.fullmatch(revision) else client.commit(revision),
        }

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Download what the cache lacks, and link it."""
        client, commit = _client(request), str(pin["commit"])
        where = f"{client.repo_id} at {commit[:12]}"
        request.progress(f"asking the hub for {client.repo_id}")
        snapshot_dir, names = client.snapshot(commit, request.model, request.progress)
        link_files(names, snapshot_dir, checkpoint_dir)
        check_contents(where, checkpoint_dir, request.model)


@dataclass(frozen=True)
class HubClient:
    """huggingface_hub, told where to look by the environment that was handed in.

    What is None is left to its own defaults: its token file, its cache in the home directory.
    """

    repo_id: str
    endpoint: str | None
    token: str | None
    cache_dir: Path | None
    offline: bool

    def commit(self, revision: str) -> str:
        """Return the commit of a branch or tag; offline, the one that the cache remembers."""
        if self.offline:
            return self._cached(revision).name
        with translated(self.repo_id, revision):
            return str(self._info(revision).sha)

    def snapshot(
        self, commit: str, model: Model, progress: Progress
    ) -> tuple[Path, tuple[str, ...]]:
        """Return a directory in the cache and the names to take from it.

        With no connection a cached snapshot is as good, because a commit never changes.
        """
        try:
            return self._downloaded(commit, model, progress)
        except HubUnreachable as exc:
            return self._complete_in_cache(commit, model, exc)

    def _downloaded(
        self, commit: str, model: Model, progress: Progress
    ) -> tuple[Path, tuple[str, ...]]:
        if self.offline:
            raise HubUnreachable(
                f"{self.repo_id}: HF_HUB_OFFLINE is set and commit {commit[:12]} "
                "is not complete in huggingface_hub's cache",
                remedy="unset HF_HUB_OFFLINE, or download it where there is a network",
            )
        with translated(self.repo_id, commit):
            siblings = self._info(commit).siblings or ()
            listed = [each.rfilename for each in siblings]
        check_names(f"{self.repo_id} at {commit[:12]}", listed, model)
        names = _wanted(listed, model)
        return self._download(commit, names, progress), names

    def _download(self, commit: str, names: tuple[str, ...], progress: Progress) -> Path:
        from huggingface_hub import snapshot_download

        with translated(self.repo_id, commit):
            found = snapshot_download(
                self.repo_id,
                revision=commit,
                cache_dir=self.cache_dir,
                endpoint=self.endpoint,
                token=self.token,
                allow_patterns=[glob.escape(each) for each in names],
                tqdm_class=progress_bar(progress),
            )
        return Path(found)

    def _complete_in_cache(
        self, commit: str, model: Model, unreachable: HubUnreachable
    ) -> tuple[Path, tuple[str, ...]]:
        snapshot_dir = self._cached(commit, or_else=unreachable)
        found = (each for each in snapshot_dir.rglob("*") if each.is_file())
        names = _wanted([each.relative_to(snapshot_dir).as_posix() for each in found], model)
        try:
            check_names(str(snapshot_dir), names, model)
            check_contents(str(snapshot_dir), snapshot_dir, model)
        except CheckpointIncomplete:
            raise unreachable from None
        return snapshot_dir, names

    def _cached(self, revision: str, *, or_else: HubUnreachable | None = None) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        with translated(self.repo_id, revision):
            try:
                found = snapshot_download(
                    self.repo_id,
                    revision=revision,
                    cache_dir=self.cache_dir,
                    local_files_only=True,
                )
            except LocalEntryNotFoundError as exc:
                raise or_else or self._not_cached(revision) from exc
        return Path(found)

    def _not_cached(self, revision: str) -> HubUnreachable:
        return HubUnreachable(
            f"{self.repo_id}: HF_HUB_OFFLINE is set and revision '{revision}' "
            "is not in huggingface_hub's cache",
            remedy="unset HF_HUB_OFFLINE, or download it where there is a network",
        )

    def _info(self, revision: str) -> Any:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, token=self.token, library_name="ovrecipe")
        return api.model_info(self.repo_id, revision=revision)


def _client(request: SourceRequest) -> HubClient:
    return HubClient(
        repo_id=request.location,
        endpoint=request.env.get("HF_ENDPOINT") or None,
        token=request.env.get("HF_TOKEN") or None,
        cache_dir=_cache_dir(request.env),
        offline=request.env.get("HF_HUB_OFFLINE", "").upper() in TRUE,
    )


def _cache_dir(env: Mapping[str, str]) -> Path | None:
    named = env.get("HF_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = env.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else None


def _wanted(names: list[str], model: Model) -> tuple[str, ...]:
    return wanted_files(
        names, trust_remote_code=model.trust_remote_code, allow_pickle=model.allow_pickle
    )
