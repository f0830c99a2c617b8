"""huggingface_hub's exceptions, translated once."""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from ovrecipe.errors import (
    CheckpointNotFound,
    CheckpointUnsafe,
    DiskFull,
    HubAccessDenied,
    HubUnreachable,
    OvrecipeError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: One file, or numbered shards; variants such as `model.fp16.safetensors`, adapters and
#: `consolidated.safetensors` repeat the weights in other forms.
SHARD = r"(-\d+-of-\d+)?"
SAFETENSORS = re.compile(rf"(pytorch_)?model{SHARD}\.safetensors")
PICKLE = re.compile(rf"pytorch_model{SHARD}\.bin")
WHOLE_SAFETENSORS = "model.safetensors"
INDEX_SUFFIX = ".index.json"

#: Configuration, vocabularies and templates; small, and transformers may read any of them.
SMALL_FILE = re.compile(
    r".*\.(json|jinja|model|tiktoken|spm)|merges\.txt|vocab\.txt|tokenizer\.model\.v\d+"
    r"|additional_chat_templates/.*\.jinja"
)
PYTHON = re.compile(r".*\.py")


def wanted_files(
    names: Iterable[str], *, trust_remote_code: bool, allow_pickle: bool
) -> tuple[str, ...]:
    """Return the names to take, sorted; `names` are relative, with `/` between folders.

    Weights are taken once: one file before shards, and safetensors before pickles, in the order
    in which transformers looks for them.

    Raises:
        CheckpointUnsafe: one of them lies outside of the checkpoint's folder.
    """
    known = sorted(names)
    chosen = {*weight_files(known, allow_pickle=allow_pickle)}
    chosen.update(each for each in known if _is_small(each) and not each.endswith(INDEX_SUFFIX))
    chosen.update(each for each in known if each.endswith(INDEX_SUFFIX) and _is_index(each, chosen))
    if trust_remote_code:
        chosen.update(each for each in known if PYTHON.fullmatch(each))
    for name in sorted(chosen):
        if leads_out(name):
            raise CheckpointUnsafe(
                f"the checkpoint lists a file that lies outside of its own folder: {name!r}",
                remedy="do not use it: no honest checkpoint does that",
            )
    return tuple(sorted(chosen))


def leads_out(name: str) -> bool:
    """Say whether a name of a listing could mean a file outside of its folder, on any system."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or windows.drive or windows.root
    return bool(absolute) or ".." in windows.parts or "\0" in name


def weight_files(names: Iterable[str], *, allow_pickle: bool) -> list[str]:
    """Return the files with the weights; none when there is nothing that may be read."""
    known = list(names)
    if WHOLE_SAFETENSORS in known:
        return [WHOLE_SAFETENSORS]
    safe = [each for each in known if SAFETENSORS.fullmatch(each)]
    if safe or not allow_pickle:
        return safe
    return pickle_files(known)


def pickle_files(names: Iterable[str]) -> list[str]:
    """Return the weights that only unpickling can read."""
    return [each for each in names if PICKLE.fullmatch(each)]


def _is_small(name: str) -> bool:
    folder = name.startswith("additional_chat_templates/")
    return SMALL_FILE.fullmatch(name) is not None and ("/" not in name or folder)


def _is_index(name: str, chosen: set[str]) -> bool:
    """Say whether an index belongs to chosen shards, and not to weights left out."""
    suffix = name.removesuffix(INDEX_SUFFIX).rpartition(".")[2]
    return "/" not in name and any(
        each.endswith(f".{suffix}") and "-of-" in each for each in chosen
    )


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
