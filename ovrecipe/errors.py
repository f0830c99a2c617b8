"""What can go wrong, with exit codes; exceptions of foreign libraries become ours here."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager


class OvrecipeError(Exception):
    """An error a user can act on.

    The message says where and what; `remedy` says what to do and is shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the message, with the remedy indented below it."""
        return "\n  ".join([self.message, *(self.remedy or "").splitlines()])


class RecipeError(OvrecipeError):
    """The recipe file, or the name of a recipe, cannot be used."""

    exit_code = 3


class RecipeNotFound(RecipeError):
    """No recipe has that name."""


class RecipeSyntaxError(RecipeError):
    """The file is not the YAML that ovrecipe accepts."""


class RecipeInvalid(RecipeError):
    """The YAML is well-formed and says something a recipe cannot say; one line per problem."""


class PluginError(OvrecipeError):
    """A plugin does not load or breaks its contract."""

    exit_code = 4


class ProviderUnknown(PluginError):
    """No plugin provides what the recipe or the command line names."""


class ProviderClaimedTwice(PluginError):
    """Two plugins provide the same name for the same role."""


class SourceError(OvrecipeError):
    """The checkpoint cannot be had or cannot be used."""

    exit_code = 5


class CheckpointNotFound(SourceError):
    """No checkpoint has that id, path or revision."""


class CheckpointIncomplete(SourceError):
    """Files that every checkpoint needs are missing."""


class CheckpointUnsafe(SourceError):
    """The checkpoint would run code (pickle, remote code) that the recipe did not allow."""


class HubUnreachable(SourceError):
    """The hub did not answer, or the machine is offline."""


class HubAccessDenied(SourceError):
    """The hub wants a token, or a licence that was not accepted."""


class PreflightError(OvrecipeError):
    """The build was refused before anything heavy started; the message has the numbers."""

    exit_code = 6


class StageError(OvrecipeError):
    """A stage ran and failed; whoever watches the build was told its log."""

    exit_code = 7


class StageKilled(StageError):
    """The stage's process was killed from outside, which mostly means out of memory."""


class NodeLost(StageKilled):
    """The machine of a cluster on which a stage ran is gone; the stage is made again."""


class GateError(OvrecipeError):
    """A gate found a wrong artifact."""

    exit_code = 8


class StoreError(OvrecipeError):
    """The store cannot do what was asked."""

    exit_code = 9


class StoreNotWritable(StoreError):
    """The store's folder cannot be written."""


class StoreRemoved(StoreError):
    """Somebody removed the store, or a folder in it, while it was used."""


class DiskFull(StoreError):
    """The disk ran out of room; nothing half-written was published."""


class ArtifactCorrupt(StoreError):
    """Files of an artifact are not what its manifest says."""


class ArtifactTooNew(StoreError):
    """A newer ovrecipe made the artifact; this one cannot judge it and leaves it alone."""


class RemoteUnreachable(StoreError):
    """A store elsewhere did not answer, or refused."""


class NotBuilt(OvrecipeError):
    """The variant was not built yet."""

    exit_code = 10


class RunError(OvrecipeError):
    """A model cannot be loaded, or cannot generate."""

    exit_code = 11


class ClusterUnreachable(RunError):
    """No cluster answers at that address, or none of its machines takes work."""


class DeviceUnknown(RunError):
    """OpenVINO does not see a device of that name."""


class GenerationParameterRefused(RunError):
    """GenAI does not know a generation parameter or does not take its value."""


class PromptRefused(RunError):
    """The prompt is empty, too long or not text."""


class PromptTooLong(PromptRefused):
    """The prompt and its answer do not fit into the model, or into its cache."""


class AnswerUnfinished(RunError):
    """The answer ended before it had the form that was asked for."""


class RequestRefused(RunError):
    """A request, as OpenAI's interface has them, says what cannot be done; `param` is the field."""

    def __init__(
        self, message: str, *, remedy: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.param = param


class EngineFailed(RunError):
    """The model failed in the middle of many answers; it is loaded again, or must be."""


class EngineBusy(RunError):
    """As many requests wait already as may."""


class NoRoomForModel(EngineBusy):
    """A model is not in memory, and none that is there can be let go of for it."""


class ProjectError(OvrecipeError):
    """The project's folder cannot be used."""

    exit_code = 12


class ToolchainError(OvrecipeError):
    """A toolchain cannot be made, or is not there where it cannot be made."""

    exit_code = 13


def is_disk_full(error: BaseException) -> bool:
    """Return whether the system took no more: no room, no quota, or a file too large for it."""
    full = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
    return isinstance(error, OSError) and error.errno in full


#: What libraries say of a full disk: the system's own words, OpenVINO's and numpy's writer. Those
#: that remove what they had half written leave no other trace of it.
FULL = re.compile(
    r"no space left|disk quota exceeded|file too large|(os error|errno) 28\b|iostream error"
    r"|\d+ requested and \d+ written",
    re.IGNORECASE,
)


def says_disk_full(text: str) -> bool:
    """Return whether a text has the words with which the system or a library tells of that."""
    return FULL.search(text) is not None


def disk_full(where: str, details: str = "") -> DiskFull:
    """Return the error of a disk that took no more of what is written at `where`."""
    remedy = "make room, as with 'ovrecipe gc', and build again: finished stages are kept"
    return DiskFull(f"{where}: the disk is full{details}", remedy=remedy)


#: How many characters of a foreign message are shown; all of it is in the stage's log.
SHOWN_CHARACTERS = 1200


@contextmanager
def foreign_errors(doing: str, *, remedy: str | None = None) -> Iterator[None]:
    """Turn whatever a library raises into a StageError that starts with `doing`.

    The library's own traceback goes to standard error, which is the stage's log.

    Raises:
        StageError: the library gave up; its message is part of ours.
        DiskFull: it gave up because nothing more fits on the disk.
    """
    try:
        yield
    except OvrecipeError:
        raise
    except Exception as error:
        import traceback  # costs a no-op build 2 ms, and it never fails here

        traceback.print_exc()
        raise translated(error, doing, remedy) from error


def translated(error: Exception, doing: str, remedy: str | None) -> OvrecipeError:
    """Return what to tell the user about a foreign exception."""
    if is_disk_full(error):
        return disk_full(doing)
    if isinstance(error, MemoryError):
        remedy = "close programs, or take a smaller model"
        return StageError(f"{doing}: out of memory", remedy=remedy)
    text = str(error).strip()
    shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."
    return StageError(f"{doing}: {type(error).__name__}: {shown}", remedy=remedy)
