"""What a provider of each role looks like; protocols, so nothing needs to be inherited.

Attributes that every build provider has:

- `packages`: distributions whose versions are part of the cache key, because another version
  may write other bytes. They need not be installed to ask for the key of what is built already.
- `version`: a number that the provider raises when its own code would write other bytes.

A tokenizer converter or compressor may have `needs_torch = False`: then its process cannot import
torch, which transformers and NNCF would do otherwise at the cost of seconds and half a gigabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from ovrecipe.recipe.compression import CompressionPass as CompressionPass  # noqa: PLC0414
    from ovrecipe.recipe.schema import Model, Recipe
    from ovrecipe.types import Json, Progress

Role: TypeAlias = Literal[
    "source",
    "exporter",
    "tokenizer_converter",
    "compressor",
    "evaluator",
    "output_filter",
    "frontend",
]
ROLES: tuple[Role, ...] = (
    "source",
    "exporter",
    "tokenizer_converter",
    "compressor",
    "evaluator",
    "output_filter",
    "frontend",
)


class FileDigests(Protocol):
    """sha256 of files, remembered by path, size, modification time and inode."""

    def sha256(self, path: Path) -> str:
        """Return the hex digest of a file; hashes it only when its stat changed."""


@dataclass(frozen=True)
class SourceRequest:
    """What a source is asked for.

    `base_dir` is the recipe's folder, from which relative paths start; `location` is `model.id`
    without its scheme; `env` is the process's environment.
    """

    model: Model
    location: str
    base_dir: Path
    env: Mapping[str, str]
    digests: FileDigests


class Source(Protocol):
    """Brings a checkpoint: a directory with config.json, safetensors and tokenizer files."""

    packages: Sequence[str]
    version: int
    #: Whether the content is only known after asking somewhere else (a hub's branch): then the
    #: answer of `pin` is recorded in `ovrecipe.lock` and asked for again only by `--update`.
    needs_pin: bool

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return what identifies the content, asking the network if need be.

        For sources that need no pin this is cheap (stats, remembered digests), for it is called
        on every build. Equal answers mean equal checkpoints.

        Raises:
            SourceError: the checkpoint does not exist, is unsafe or may not be read.
        """

    def fetch(
        self,
        request: SourceRequest,
        pin: Mapping[str, Json],
        checkpoint_dir: Path,
        progress: Progress,
    ) -> None:
        """Fill the empty `checkpoint_dir`; link what is on this disk already.

        Raises:
            SourceError: as `pin`, or the connection broke.
        """


class Exporter(Protocol):
    """Turns a checkpoint into the base IR, in the checkpoint's own dtype."""

    packages: Sequence[str]
    version: int

    def export(
        self, checkpoint_dir: Path, output_dir: Path, *, model: Model, progress: Progress
    ) -> None:
        """Write `openvino_model.xml` and `.bin` (stateful) and the `config.json`."""


class TokenizerConverter(Protocol):
    """Turns a checkpoint's tokenizer into an OpenVINO tokenizer and detokenizer."""

    packages: Sequence[str]
    version: int

    def convert(
        self, checkpoint_dir: Path, output_dir: Path, *, model: Model, progress: Progress
    ) -> None:
        """Write `openvino_tokenizer.*`, `openvino_detokenizer.*` and the tokenizer's own files."""


@dataclass(frozen=True)
class WeightShape:
    """One matrix of the base IR: `shape` is (out_channels, in_channels)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Estimate:
    """What a stage leaves on the disk, and the anonymous memory that it peaks at."""

    disk_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class CompressionJob:
    """What a compressor works on.

    `input_dir` holds the IR to read (the base, or what the pass before wrote); `base_dir` the
    base IR; `output_dir` is empty and on the same file system; `tokenizer_dir` and
    `checkpoint_dir` are given when the pass names a data set; `dataset_path` is the user's data
    set, resolved, and None for text that the model generates itself; `options` are those of the
    pass, validated.

    `cache_dir`, not made yet, is for what a compressor learns of the base and wants to know again
    in its next job, whatever the options. Each base and each state of the provider (what a cache
    key says of it) has its own; `ovrecipe gc` removes it with the base. Two jobs may use it at the
    same time, so write a file beside its place and rename it. None outside of a store.
    """

    input_dir: Path
    base_dir: Path
    output_dir: Path
    tokenizer_dir: Path | None
    checkpoint_dir: Path | None
    dataset_path: Path | None
    compression: CompressionPass
    precision: str
    model: Model
    progress: Progress
    cache_dir: Path | None = None
    options: BaseModel | None = None


class Compressor(Protocol):
    """Compresses the weights of an IR."""

    packages: Sequence[str]
    version: int
    #: The pydantic class of `options:` in a pass, or None when the compressor has none.
    options_model: type[BaseModel] | None

    def problems(
        self, compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
    ) -> Sequence[str]:
        """Return what would fail, known from the shapes alone; empty when all is well.

        With no shapes at all (the checkpoint is not here yet) only the knobs are judged.
        """

    def compress(self, job: CompressionJob) -> dict[str, Json]:
        """Write `openvino_model.xml` and `.bin` into `job.output_dir`; return facts to show."""


@dataclass(frozen=True)
class EvaluationJob:
    """What an evaluator judges.

    `model_dir` is the assembled directory, which LLMPipeline opens; `base_dir` holds the IR in
    the checkpoint's own dtype that it was compressed from. `options` are validated. `render`
    returns the recipe's prompt around an instruction; its tokens are made with
    `recipe.prompt.add_special_tokens`.
    """

    model_dir: Path
    base_dir: Path
    recipe: Recipe
    variant: str
    options: BaseModel | None
    render: Callable[[str], str]
    progress: Progress


class Evaluator(Protocol):
    """Judges a variant that is built, before it gets its name."""

    packages: Sequence[str]
    version: int
    #: The pydantic class of the options in `check.evaluators`, or None when there are none.
    options_model: type[BaseModel] | None

    def evaluate(self, job: EvaluationJob) -> dict[str, Json]:
        """Return facts, which the manifest keeps.

        Raises:
            GateError: the model must not be used; the message has the fact and the limit.
        """


class OutputFilter(Protocol):
    """One generation's filter. However the text is cut, the joined output is the same."""

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown by now."""

    def finish(self) -> str:
        """Return what was held back."""


class FilterProvider(Protocol):
    """Makes a filter for each generation."""

    options_model: type[BaseModel] | None

    def create(self, options: BaseModel | None) -> OutputFilter:
        """Return a fresh filter with validated options."""


class ShownGeneration(Protocol):
    """A running generation, as a frontend sees it (`ovrecipe.run.Generation`)."""

    def __iter__(self) -> Iterator[str]:
        """Yield the filtered text as it comes; errors of the model are raised here."""

    def cancel(self) -> None:
        """End the generation; iteration stops within 0.3 s."""

    @property
    def result(self) -> Any:
        """The `GenerationResult`, once iteration has ended."""


@dataclass(frozen=True)
class Console:
    """The streams that a frontend writes to."""

    out: TextIO
    err: TextIO
    stats: bool = False


class Frontend(Protocol):
    """Shows an answer to a user or a program."""

    def show(self, generation: ShownGeneration, console: Console) -> None:
        """Consume the generation and write it."""


@runtime_checkable
class ChatFrontend(Protocol):
    """A frontend that runs the whole conversation by itself."""

    def chat(self, conversation: Any, console: Console) -> None:
        """Run until the user leaves; `conversation` is an `ovrecipe.Chat`.

        It has the command line's parameters already (`conversation.stream(instruction)`), and
        `variants()` and `switch(variant)` for another one of the recipe. The model is closed
        behind it.
        """
