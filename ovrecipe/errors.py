"""Every error ovrecipe reports, drawn as a tree; the number is the exit code of the command.

OvrecipeError
├── RecipeError                3   the recipe file, or a recipe's name
│   ├── RecipeNotFound
│   ├── RecipeSyntaxError
│   └── RecipeInvalid
├── PluginError                4   a plugin, or a provider nobody offers
│   ├── ProviderUnknown
│   └── ProviderClaimedTwice
├── SourceError                5   the checkpoint
│   ├── CheckpointNotFound
│   ├── CheckpointIncomplete
│   ├── CheckpointUnsafe
│   ├── HubUnreachable
│   └── HubAccessDenied
├── PreflightError             6   refused before anything heavy was started
├── StageError                 7   a stage ran and failed
│   └── StageKilled
├── GateError                  8   an artifact was built and is wrong
├── StoreError                 9   the store's folder, its disk or an artifact in it
│   ├── StoreNotWritable
│   ├── DiskFull
│   └── ArtifactCorrupt
├── NotBuilt                  10   a variant that was not built yet
├── RunError                  11   loading a model or generating from it
│   ├── DeviceUnknown
│   ├── GenerationParameterRefused
│   └── PromptRefused
└── ProjectError              12   the project's folder

Exit code 1 is a bug of ours and keeps its traceback, 2 is wrong usage of the command line,
130 is Ctrl-C, 141 a reader that left (SIGPIPE). `doit` has exit codes of its own: 1 when a task
failed, whatever the reason.
"""

from __future__ import annotations


class OvrecipeError(Exception):
    """An error a user can act on.

    The message says where and what; `remedy` says what to do and is shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        """Keep the message and the remedy."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the message, with the remedy indented below it."""
        if self.remedy is None:
            return self.message
        return self.message + "\n" + "\n".join(f"  {line}" for line in self.remedy.splitlines())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the remedy: doit's processes send errors to each other."""
        return _rebuild, (type(self), self.message, self.remedy)


def _rebuild(kind: type[OvrecipeError], message: str, remedy: str | None) -> OvrecipeError:
    return kind(message, remedy=remedy)


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
    """A stage ran and failed; the message names its log."""

    exit_code = 7


class StageKilled(StageError):
    """The stage's process was killed from outside, which mostly means out of memory."""


class GateError(OvrecipeError):
    """A gate found a wrong artifact."""

    exit_code = 8


class StoreError(OvrecipeError):
    """The store cannot do what was asked."""

    exit_code = 9


class StoreNotWritable(StoreError):
    """The store's folder cannot be written."""


class DiskFull(StoreError):
    """The disk ran out of room; nothing half-written was published."""


class ArtifactCorrupt(StoreError):
    """Files of an artifact are not what its manifest says."""


class NotBuilt(OvrecipeError):
    """The variant was not built yet."""

    exit_code = 10


class RunError(OvrecipeError):
    """A model cannot be loaded, or cannot generate."""

    exit_code = 11


class DeviceUnknown(RunError):
    """OpenVINO does not see a device of that name."""


class GenerationParameterRefused(RunError):
    """GenAI does not know a generation parameter or does not take its value."""


class PromptRefused(RunError):
    """The instruction is empty, too long or not text."""


class ProjectError(OvrecipeError):
    """The project's folder cannot be used."""

    exit_code = 12
