"""The `hub` source: a model on the Hugging Face hub, at one commit, in its client's own cache."""

import glob
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ovrecipe.builtin.checkpoint import check_contents, check_names, wanted_files
from ovrecipe.builtin.local import link_files, names_in
from ovrecipe.errors import (
    CheckpointIncomplete,
    CheckpointNotFound,
    HubAccessDenied,
    HubUnreachable,
    OvrecipeError,
    disk_full,
    is_disk_full,
)
from ovrecipe.hooks.roles import SourceRequest
from ovrecipe.recipe.schema import Model
from ovrecipe.recipe.tasks import GENERATION, TaskName
from ovrecipe.types import Json, Progress
from ovrecipe.wording import SHORT

COMMIT = re.compile(r"[0-9a-f]{40}")
TRUE = {"1", "ON", "YES", "TRUE"}
NETWORK_REMEDY = (
    "check the network and HF_ENDPOINT; what was downloaded completely is kept\n"
    "with HF_HUB_OFFLINE=1 a model that is in huggingface_hub's cache is used from there"
)
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def is_offline(env: Mapping[str, str]) -> bool:
    """Return whether the environment says that there shall be no network."""
    return env.get("HF_HUB_OFFLINE", "").upper() in TRUE


class HubSource:
    """Reads `model.id: ORG/NAME`."""

    needs_pin = True

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return the commit that the revision means now; a full commit is not asked for."""
        client = HubClient(request)
        revision = request.model.revision or "main"
        commit = revision if COMMIT.fullmatch(revision) else client.commit(revision)
        return {"repo_id": client.repo_id, "revision": revision, "commit": commit}

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Download what the cache lacks, and link it."""
        client, commit = HubClient(request), str(pin["commit"])
        request.progress(f"asking the hub for {client.repo_id}")
        model, task = request.model, request.recipe.task
        folder = client.snapshot(commit, model, request.progress, task)
        where = f"{client.repo_id} at {commit[:SHORT]}"
        link_files(names_in(where, folder, model, task), folder, checkpoint_dir)
        check_contents(where, checkpoint_dir, model, task)


class HubClient:
    """huggingface_hub, told where to look by the environment that was handed in.

    What that does not say is left to its own defaults: its token file, its cache in the home.
    """

    def __init__(self, request: SourceRequest) -> None:
        env = request.env
        home = env.get("HF_HOME")
        cache_dir = env.get("HF_HUB_CACHE") or (f"{home}/hub" if home else None)
        self.repo_id = request.location
        self._cache_dir = Path(cache_dir).expanduser() if cache_dir else None
        self._hub = {name: env.get(f"HF_{name.upper()}") or None for name in ("endpoint", "token")}
        self._is_offline = is_offline(env)

    def commit(self, revision: str) -> str:
        """Return the commit of a branch or tag; offline, the one that the cache remembers."""
        if self._is_offline:
            return self._cached(revision, self._offline(f"revision '{revision}' is not")).name
        return str(self._info(revision).sha)

    def snapshot(
        self, commit: str, model: Model, progress: Progress, task: TaskName = GENERATION
    ) -> Path:
        """Return a folder in the cache that has all of a commit that is wanted.

        With no connection what is there already is as good, because a commit never changes.

        Raises:
            SourceError: it is not all there, and the hub cannot be asked or does not give it.
        """
        try:
            if self._is_offline:
                raise self._offline(f"commit {commit[:SHORT]} is not complete")
            listed = [sibling.rfilename for sibling in self._info(commit).siblings or ()]
            check_names(f"{self.repo_id} at {commit[:SHORT]}", listed, model)
            wanted = [glob.escape(name) for name in wanted_files(listed, model, task)]
            bar = progress_bar(progress)
            return self._snapshot(commit, allow_patterns=wanted, tqdm_class=bar, **self._hub)
        except HubUnreachable as unreachable:
            folder = self._cached(commit, unreachable)
            try:
                names_in(str(folder), folder, model, task)
                check_contents(str(folder), folder, model, task)
            except CheckpointIncomplete:
                raise unreachable from None
            return folder

    def _cached(self, revision: str, or_else: HubUnreachable) -> Path:
        try:
            return self._snapshot(revision, local_files_only=True)
        except HubUnreachable as exc:
            raise or_else from exc

    def _snapshot(self, revision: str, **options: Any) -> Path:
        from huggingface_hub import snapshot_download

        options |= {"revision": revision, "cache_dir": self._cache_dir}
        with translated(self.repo_id, revision):
            return Path(snapshot_download(self.repo_id, **options))

    def _offline(self, missing: str) -> HubUnreachable:
        message = f"{self.repo_id}: HF_HUB_OFFLINE is set and {missing} in huggingface_hub's cache"
        remedy = "unset HF_HUB_OFFLINE, or download it where there is a network"
        return HubUnreachable(message, remedy=remedy)

    def _info(self, revision: str) -> Any:
        from huggingface_hub import HfApi

        with translated(self.repo_id, revision):
            api = HfApi(library_name="ovrecipe", **self._hub)
            return api.model_info(self.repo_id, revision=revision)


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
                progress("downloading", done=self.n, total=self.total or None, unit="B")

    return ReportedBar


@contextmanager
def translated(repo_id: str, revision: str) -> Iterator[None]:
    """Raise our errors in place of huggingface_hub's and of the network's.

    Raises:
        SourceError: the hub, the repository or the revision cannot be had.
        DiskFull: the cache's disk has no room.
    """
    import httpx

    try:
        yield
    except (httpx.TransportError, OSError, ValueError) as exc:
        known = _translation(exc, repo_id, revision)
        if known is None:
            raise
        raise known from exc


def _translation(error: Exception, repo_id: str, revision: str) -> OvrecipeError | None:
    """Return our error for one that is known; most of huggingface_hub's are OSErrors."""
    import httpx
    from huggingface_hub import errors

    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    if is_disk_full(error):
        return disk_full(f"{repo_id}: huggingface_hub's cache (HF_HUB_CACHE moves it)")
    # Subclasses stand before their bases.
    known: dict[type[Exception], OvrecipeError] = {
        errors.HFValidationError: CheckpointNotFound(
            f"'{repo_id}' is no hub id and no path: {line}",
            remedy="write ORG/NAME for the hub, or start a local path with ./",
        ),
        errors.GatedRepoError: HubAccessDenied(
            f"{repo_id}: the model is gated and this machine's token has no access to it",
            remedy=f"accept the licence at huggingface.co/{repo_id}, then {LOG_IN}",
        ),
        errors.RevisionNotFoundError: CheckpointNotFound(
            f"{repo_id}: the hub has no revision '{revision}'",
            remedy="name a branch, a tag or a full commit in model.revision, or leave it out",
        ),
        errors.RepositoryNotFoundError: CheckpointNotFound(
            f"{repo_id}: the hub has no such model, or it is private",
            remedy=f"check the spelling of model.id; for a private model, {LOG_IN}",
        ),
        errors.DisabledRepoError: HubAccessDenied(f"{repo_id}: {line}", remedy=LOG_IN),
    }
    for kind, ours in known.items():
        if isinstance(error, kind):
            return ours
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
        return known[errors.DisabledRepoError]
    no_answer = (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)
    # huggingface_hub has no class for a download that is shorter than it was announced.
    is_short = "Consistency check" in str(error)
    # hf_xet, which moves large files, raises Python's own.
    lost = (httpx.TransportError, ConnectionError, TimeoutError)
    if is_short or isinstance(error, (*lost, *no_answer)):
        return HubUnreachable(f"{repo_id}: the hub did not answer: {line}", remedy=NETWORK_REMEDY)
    return None
