"""What a provider of each role looks like: jobs and protocols; nothing needs to be inherited.

A provider is an instance, or a class or function that is called for one, with `recipe=` if it has
an argument of that name. An output filter, a command (a typer callback) and a recipe section (a
pydantic class) are used as they are. Optional: attributes and `OPTIONAL_METHODS` of `provided`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    TextIO,
    TypeAlias,
    get_args,
    runtime_checkable,
)

from ovrecipe.types import Json, Progress

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.recipe.compression import CompressionPass as CompressionPass  # noqa: PLC0414
    from ovrecipe.recipe.schema import Model, Recipe
    from ovrecipe.recipe.sections import Objection

Role: TypeAlias = Literal[
    "source",
    "exporter",
    "tokenizer_converter",
    "compressor",
    "evaluator",
    "output_filter",
    "frontend",
    "command",
    "recipe_section",
    "cluster",
]
ROLES: tuple[Role, ...] = get_args(Role)


def silent(
    message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
) -> None:
    """Be a `Progress` that nobody watches."""


class FileDigests(Protocol):
    """sha256 of files, remembered by path, size, modification time and inode."""

    def sha256(self, path: Path) -> str:
        """Return the hex digest of a file; hashes it only when its stat changed."""


@dataclass(frozen=True, kw_only=True)
class ProviderJob:
    """What every job has: the recipe, its options for the provider, validated, who is watching."""

    recipe: Recipe
    options: BaseModel | None = None
    progress: Progress = silent

    @property
    def model(self) -> Model:
        """The recipe's `model:`."""
        return self.recipe.model


@dataclass(frozen=True, kw_only=True)
class SourceRequest(ProviderJob):
    """What a source is asked for; `location` is `model.id` without its scheme."""

    location: str
    env: Mapping[str, str]
    digests: FileDigests

    @property
    def recipe_dir(self) -> Path:
        """The recipe's folder, from which relative paths start."""
        return self.recipe.path.parent


class Source(Protocol):
    """Brings a checkpoint: a directory with config.json, safetensors and tokenizer files.

    Raises:
        SourceError: the checkpoint does not exist, is unsafe or may not be read.
    """

    def pin(self, request: SourceRequest) -> dict[str, Json]:
        """Return what identifies the content: equal answers mean equal checkpoints.

        Called on every build, so it is cheap (stats, remembered digests), unless `needs_pin`; and
        again after `fetch`, which is refused when the answer is another by then.
        """

    def fetch(self, request: SourceRequest, pin: Mapping[str, Json], checkpoint_dir: Path) -> None:
        """Fill the empty `checkpoint_dir`; link what is on this disk already."""


class Answers(Protocol):
    """Takes what the checkpoint's own code says, which every gate compares with.

    An exporter that has the checkpoint's model in memory shows it the prompts, lets it go on
    greedily for `new_tokens`, and hands over each row once.
    """

    new_tokens: int

    @property
    def prompts(self) -> Sequence[Sequence[int]]:
        """The ids that are read, all rows of one length."""

    def take(self, tokens: Any, logits: Any) -> None:
        """Keep a row: tokens, (length,), and logits of what follows, (length - 1, vocabulary)."""


class Readings(Protocol):
    """Takes what the checkpoint's own code makes of texts that it only reads.

    That is the counterpart of `Answers` for the tasks that write no text.
    """

    @property
    def inputs(self) -> Sequence[Mapping[str, Sequence[int]]]:
        """The inputs of each text by name: ids, mask and whatever the tokenizer gives."""

    def take(self, output: Any) -> None:
        """Keep what it made of the next text: states (tokens, size), or logits (labels,)."""


@dataclass(frozen=True, kw_only=True)
class ExportJob(ProviderJob):
    """What an exporter works on: it reads `checkpoint_dir` and fills `output_dir`.

    `recipe.task` says what the model is for, and so which of `answers` and `readings` is asked for.
    Where nobody asks they are None; an exporter may leave them, and the IR that it wrote is the
    reference then.
    """

    checkpoint_dir: Path
    output_dir: Path
    answers: Answers | None = None
    readings: Readings | None = None


class ConversionJob(ExportJob):
    """What a tokenizer converter works on, in the same way."""


@dataclass(frozen=True)
class WeightShape:
    """A tensor of the checkpoint by its name there; a weight's shape ends in (out, in) channels.

    Estimates get all float tensors as they are stored, `problems` the weights alone.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Estimate:
    """What a stage leaves on the disk, and the anonymous memory that it peaks at."""

    disk_bytes: int
    memory_bytes: int


#: The name of the environment that ovrecipe itself runs in, where a toolchain could be named.
MAIN = "main"


@dataclass(frozen=True)
class Toolchain:
    """An environment for an exporter: packages that go before those of the main environment.

    `packages` are exact versions by distribution, all that moves; nothing else is installed.
    """

    name: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class ToolchainChoice:
    """Which toolchain a checkpoint needs (`MAIN` is none), and why; None where none would do."""

    name: str | None
    reason: str


class Exporter(Protocol):
    """Turns a checkpoint into the base IR, in the checkpoint's own dtype."""

    def export(self, job: ExportJob) -> None:
        """Write `config.json`, `openvino_model.xml` and `.bin` (stateful if it generates)."""

    def toolchain(self, config: Mapping[str, Any]) -> ToolchainChoice:
        """Return which of its `toolchains` the checkpoint with that config.json needs.

        Asked for each key, so it is cheap. Without this method the recipe alone chooses.
        """

    def problems(self, config: Mapping[str, Any]) -> Iterable[str]:
        """Return why the checkpoint with that config.json cannot be exported, known unread."""

    def estimate(self, tensors: Sequence[WeightShape]) -> Estimate:
        """Return what the export takes; without this method a default is assumed."""


class TokenizerConverter(Protocol):
    """Turns a checkpoint's tokenizer into an OpenVINO tokenizer and detokenizer."""

    def convert(self, job: ConversionJob) -> None:
        """Write `openvino_tokenizer.*`, `openvino_detokenizer.*` and the tokenizer's own files."""


@dataclass(frozen=True, kw_only=True)
class CompressionJob(ProviderJob):
    """What a compressor works on: the IR in `input_dir`, the base or what the pass before wrote.

    `output_dir` is empty and on the same file system. `tokenizer_dir` and `checkpoint_dir` are
    given when the pass names a data set; `dataset_path` is the user's own, resolved, and None for
    text that the model generates itself.
    """

    input_dir: Path
    base_dir: Path
    output_dir: Path
    compression: CompressionPass
    precision: str
    tokenizer_dir: Path | None = None
    checkpoint_dir: Path | None = None
    dataset_path: Path | None = None
    #: For what is learned of the base and wanted in the next job, whatever its options; not made
    #: yet, and None outside of a store. Each base and state of the provider (what a cache key says
    #: of it) has its own, removed with the base. Two jobs may use it at once: write, then rename.
    cache_dir: Path | None = None


class Compressor(Protocol):
    """Compresses the weights of an IR."""

    def compress(self, job: CompressionJob) -> Mapping[str, Json] | None:
        """Write `openvino_model.xml` and `.bin` into `job.output_dir`; return facts to show."""

    def objections(self, compression: CompressionPass, precision: str) -> Iterable[Objection]:
        """Yield what is wrong with the knobs, each with its place in the pass; asked first."""

    def problems(
        self, compression: CompressionPass, precision: str, shapes: Sequence[WeightShape]
    ) -> Sequence[str]:
        """Return what would fail; without shapes (no checkpoint is here yet) judge the knobs."""

    def estimate(
        self, compression: CompressionPass, precision: str, tensors: Sequence[WeightShape]
    ) -> Estimate:
        """Return what the pass takes; without this method a default is assumed."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob(ProviderJob):
    """What an evaluator judges: `model_dir`, which LLMPipeline opens, made of the IR in `base_dir`.

    `ask(question, **generation)` returns the answer, greedily unless `do_sample=True`, to what
    `render(question)` makes of the recipe's prompt (tokens: `recipe.prompt.add_special_tokens`).
    """

    model_dir: Path
    base_dir: Path
    variant: str
    ask: Callable[..., str]
    render: Callable[[str], str]


class Evaluator(Protocol):
    """Judges a variant that is built, before it gets its name."""

    def evaluate(self, job: EvaluationJob) -> Mapping[str, Json] | None:
        """Return facts for the manifest; raise GateError, with fact and limit, to refuse it."""


class OutputFilter(Protocol):
    """One generation's filter. However the text is cut, the joined output is the same.

    Each generation makes one with the validated options (None without `options_model`). A function
    `name(pieces, options)` does it too: given the pieces as they come, it yields what can be shown.
    """

    def feed(self, text: str) -> str:
        """Take the next piece and return what can be shown by now."""

    def finish(self) -> str:
        """Return what was held back."""


#: What an entry point of the role `output_filter` names.
FilterMaker: TypeAlias = Callable[..., "OutputFilter | Iterable[str]"]


class ShownGeneration(Protocol):
    """A running generation, as a frontend sees it (`ovrecipe.Generation`)."""

    recipe: Recipe
    variant: str

    @property
    def question(self) -> str:
        """What is answered."""

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
        """Run an `ovrecipe.Chat`, which has its parameters, until the user leaves."""


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """What engines on a cluster are opened with; the rest is as for `ovrecipe.load_engine`.

    `model` is what `ovrecipe.run.load.find` found here; nodes may see neither project nor store.
    """

    model: Any
    device: str
    generation: Mapping[str, Any]
    #: The LoRA adapter of all answers; None is the one that is always on, "" none.
    adapter: str | None
    room: Any
    remote_url: str | None
    announce: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RemoteStage:
    """A stage's process for another machine, which sees the store under the same path.

    `words` follow the name of the interpreter; the process prints into `log_path`.
    """

    title: str
    words: Sequence[str]
    env: Mapping[str, str]
    log_path: Path
    memory_bytes: int
    cancelled: Callable[[], bool]


@dataclass(frozen=True)
class StageEnded:
    """How a stage's process ended, and what was seen of its memory."""

    exit_code: int
    peak_bytes: int
    available_bytes: int | None
    killed_for_memory: bool


class Nodes(Protocol):
    """A cluster that answers, as long as it is needed."""

    @property
    def count(self) -> int:
        """The number of machines that take work."""

    @property
    def memory_bytes(self) -> int:
        """The memory of the largest of them."""

    def open_engine(self, job: EngineJob) -> Any:
        """Return what a batch asks (`ovrecipe.run.batch.work.Asks`), with an engine on each node.

        Raises:
            OvrecipeError: no node can load the model.
        """

    def check_store(self, store_dir: Path) -> None:
        """Refuse a store that a node does not see.

        Raises:
            StoreError: with the node.
        """

    def run_stage(self, stage: RemoteStage, hear: Callable[[dict[str, Any]], None]) -> StageEnded:
        """Run a process where its memory fits, and tell what it says.

        Raises:
            NodeLost: the machine is gone, and the process with it.
            KeyboardInterrupt: the build was cancelled; the process is gone.
        """


class Cluster(Protocol):
    """Machines that work together; `--ray ADDRESS` asks the one that is called `ray`."""

    def connect(
        self, address: str, announce: Callable[[str], None]
    ) -> AbstractContextManager[Nodes]:
        """Return the cluster at an address, to be entered.

        Raises:
            ClusterUnreachable: there is none, or it has no machine.
        """


PROTOCOLS: Mapping[Role, type] = {
    "source": Source,
    "exporter": Exporter,
    "tokenizer_converter": TokenizerConverter,
    "compressor": Compressor,
    "evaluator": Evaluator,
    "output_filter": OutputFilter,
    "frontend": Frontend,
    "cluster": Cluster,
}
