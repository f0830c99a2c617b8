"""huggingface_hub's exceptions, translated once."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovrecipe.errors import (
    CheckpointNotFound,
    DiskFull,
    HubAccessDenied,
    HubUnreachable,
    OvrecipeError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNAUTHORIZED, FORBIDDEN = 401, 403
OFFLINE_REMEDY = (
    "check the network and HF_ENDPOINT; what was downloaded completely is kept\n"
    "with HF_HUB_OFFLINE=1 a model that is in huggingface_hub's cache is used from there"
)
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


@contextmanager
def translated(repo_id: str, revision: str) -> Iterator[None]:
    """Raise our errors in place of huggingface_hub's and of the network's.

    Raises:
        SourceError: the hub, the repository or the revision cannot be had.
        DiskFull: the cache's disk has no room.
    """
    import httpx
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    try:
        yield
    except (httpx.TransportError, OfflineModeIsEnabled) as exc:
        raise _unreachable(repo_id, exc) from exc
    except HFValidationError as exc:
        raise CheckpointNotFound(
            f"'{repo_id}' is no hub id and no path: {_line(exc)}",
            remedy="write ORG/NAME for the hub, or start a local path with ./",
        ) from exc
    except OSError as exc:
        known = _from_os_error(exc, repo_id, revision)
        if known is None:
            raise
        raise known from exc


def _from_os_error(error: OSError, repo_id: str, revision: str) -> OvrecipeError | None:
    """Return our error for one that is known; huggingface_hub's HTTP errors are OSErrors too."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if error.errno == errno.ENOSPC:
        return DiskFull(
            f"{repo_id}: no room left for the download in huggingface_hub's cache",
            remedy="free some space, or move the cache with HF_HUB_CACHE",
        )
    if isinstance(error, HfHubHTTPError):
        return _from_http_error(error, repo_id, revision)
    if isinstance(error, LocalEntryNotFoundError) or "Consistency check" in str(error):
        return _unreachable(repo_id, error)
    return None


def _from_http_error(error: OSError, repo_id: str, revision: str) -> OvrecipeError:
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return HubAccessDenied(
            f"{repo_id}: the model is gated and this machine's token has no access to it",
            remedy=f"accept the licence on the model's page (huggingface.co/{repo_id}), "
            f"then {LOG_IN}",
        )
    if isinstance(error, RevisionNotFoundError):
        return CheckpointNotFound(
            f"{repo_id}: the hub has no revision '{revision}'",
            remedy="name a branch, a tag or a full commit in model.revision, or leave it out",
        )
    if isinstance(error, RepositoryNotFoundError):
        return CheckpointNotFound(
            f"{repo_id}: the hub has no such model, or it is private",
            remedy=f"check the spelling of model.id; for a private model, {LOG_IN}",
        )
    if isinstance(error, DisabledRepoError) or status in (UNAUTHORIZED, FORBIDDEN):
        return HubAccessDenied(f"{repo_id}: {_line(error)}", remedy=LOG_IN)
    return _unreachable(repo_id, error)


def _unreachable(repo_id: str, error: Exception) -> HubUnreachable:
    message = f"{repo_id}: the hub did not answer: {_line(error)}"
    return HubUnreachable(message, remedy=OFFLINE_REMEDY)


def _line(error: Exception) -> str:
    lines = [each.strip() for each in str(error).splitlines() if each.strip()]
    return lines[0] if lines else type(error).__name__
