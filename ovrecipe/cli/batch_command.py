"""`ovrecipe batch`: a file of prompts, answered many at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer
from typer import Option

from ovrecipe.cli.cluster import RayAddress, connected, engine_on
from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.generation_options import parameter
from ovrecipe.cli.output import AsJson, announce, print_json, status
from ovrecipe.cli.session import session_of
from ovrecipe.errors import ProjectError, disk_full, is_disk_full
from ovrecipe.wording import counted

if TYPE_CHECKING:
    from ovrecipe.run.batch.work import Asks, Counts

#: How often a pipe or a log is told how far it is, in seconds.
HEARTBEAT = 30.0
STDIO = "-"
#: Half a character, which no encoding has, is written as its escape, which is that of JSON.
ESCAPED = "backslashreplace"


def command(
    ctx: typer.Context,
    target: Annotated[
        str,
        recipe_argument(
            "NAME[:VARIANT]", "Who answers; without a variant int4 if built, else the smallest."
        ),
    ],
    prompts: Annotated[str, typer.Argument(metavar="IN.JSONL", help="'-' reads from stdin.")],
    *,
    output: Annotated[
        str, Option("-o", "--output", help="Where the answers go; '-' writes to stdout.")
    ] = STDIO,
    device: Annotated[
        str | None, Option(help="See 'ovrecipe devices'; CPU unless configured.")
    ] = None,
    more: Annotated[
        list[str] | None,
        Option(
            *("-g", "--generation"),
            metavar="KEY=VALUE",
            help="A parameter of GenAI's for lines that say nothing else; VALUE is JSON or text.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        Option(
            help="The recipe's LoRA adapter that all answers have, '' for none; else the one that "
            "is always on."
        ),
    ] = None,
    cache_gb: Annotated[int, Option(min=1, help="Memory for what is being answered, in GB.")] = 1,
    at_once: Annotated[
        int, Option(min=1, max=4096, help="Answers at once, at most; on a cluster of each engine.")
    ] = 256,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Answer a file of prompts, many at once, in the order of its lines.

    A line is {"instruction": "..."}, with "system" and "generation" if wanted, {"messages": [...]},
    or one of OpenAI's batch format. What cannot be answered gets a line with its error. A run that
    was stopped goes on with the same command: what is in the output is not asked again.

    Example: ovrecipe batch smollm2-135m:int4 in.jsonl -o out.jsonl -g do_sample=false

    On a Ray cluster, an engine on each node: ovrecipe batch ... --ray auto

    From a pipe: jq -c '{instruction: .title}' news.jsonl | ovrecipe batch smollm2-135m -
    """
    from ovrecipe.run.batch.resume import answered_lines
    from ovrecipe.run.batch.work import WINDOW, Batch
    from ovrecipe.run.batching import Room
    from ovrecipe.run.load import load_engine

    if as_json and output == STDIO:
        raise typer.BadParameter("needs --output FILE: stdout has the answers", param_hint="--json")
    session = session_of(ctx)
    generation = dict(parameter(text) for text in more or ())
    default = session.defaults.device
    on = device or (default.value if default else "CPU")
    with ExitStack() as stack:
        texts = numbered(stack.enter_context(_opened(prompts)))
        total, done = counted_lines(prompts), 0
        if output != STDIO:
            given = None if prompts == STDIO else Path(prompts)
            done, texts = answered_lines(Path(output), texts, input_path=given)
        if done:
            announce(f"{counted(done, 'line')} of {output} kept; going on behind them")

        nodes = stack.enter_context(connected(session, ray)) if ray else None
        room = Room(cache_gb, at_once)

        def open_engine() -> Asks:
            with status(f"loading {target} on {on}"):
                if nodes is not None:
                    return engine_on(
                        nodes,
                        session,
                        target,
                        device=on,
                        generation=generation,
                        adapter=adapter,
                        room=room,
                    )
                return load_engine(
                    target,
                    on,
                    project=session.project,
                    plugins=session.plugins,
                    announce=announce,
                    generation=generation,
                    adapter=adapter,
                    room=room,
                    most_waiting=sys.maxsize,
                )

        write = writer(output, stack)
        progress = Shown(total, done, stack)
        batch = Batch(
            open_engine,
            texts,
            write=write,
            generation=generation,
            watch=progress,
            window=WINDOW * (1 if nodes is None else nodes.count),
        )
        counts = batch.run()
    seconds = progress.seconds()
    speed = counts.generated_tokens / seconds if seconds else 0.0
    if as_json:
        print_json({**vars(counts), "kept": done, "seconds": seconds, "throughput": speed})
        return
    failed = f", {counted(counts.errors, 'error')}" if counts.errors else ""
    announce(f"{counted(counts.answered, 'line')} answered{failed}, {speed:.0f} tokens/s")


def numbered(stream: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, each with its number; broken bytes become marks."""
    for number, line in enumerate(stream, start=1):
        if text := line.decode("utf-8-sig" if number == 1 else "utf-8", "replace").strip():
            yield number, text


def _opened(path: str) -> IO[bytes]:
    if path == STDIO:
        return sys.stdin.buffer
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise ProjectError(f"{path} cannot be read: {error.strerror}") from error


def _appended(path: str) -> IO[str]:
    try:
        return Path(path).open("a", encoding="utf-8", errors=ESCAPED, newline="\n")
    except OSError as error:
        raise ProjectError(f"{path} cannot be written: {error.strerror}") from error


def counted_lines(path: str) -> int | None:
    """Return how many lines a file has; None where reading them would take them away."""
    if path == STDIO or not Path(path).is_file():
        return None
    with Path(path).open("rb") as stream:
        return sum(1 for _ in numbered(stream))


def writer(path: str, stack: ExitStack) -> Callable[[str], None]:
    """Return what writes a line so that a kill leaves it whole or half, and none behind it."""
    if path == STDIO:

        def write(text: str) -> None:
            sys.stdout.buffer.write(text.encode(errors=ESCAPED))
            sys.stdout.buffer.flush()

        return write
    stream = stack.enter_context(_appended(path))

    def append(text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(path) from error
            raise

    return append


class Shown:
    """Says how far a batch is: on a terminal in one moving line, else every 30 seconds."""

    def __init__(
        self,
        total: int | None,
        kept: int,
        stack: ExitStack,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._kept, self._clock = total, kept, clock
        self._began: float | None = None
        self._told = clock()
        self._live = stack.enter_context(status("")) if sys.stderr.isatty() else None

    def seconds(self) -> float:
        """Return how long it has taken since the model was loaded."""
        return 0.0 if self._began is None else self._clock() - self._began

    def __call__(self, counts: Counts) -> None:
        """Show it."""
        now = self._clock()
        if self._began is None:
            self._began = now
        if self._live is not None:
            self._live.update(self._text(counts))
        elif now - self._told >= HEARTBEAT:
            self._told = now
            announce(self._text(counts))

    def _text(self, counts: Counts) -> str:
        from ovrecipe.cli.progress import clock_face

        seconds, done = self.seconds(), counts.answered
        of = "" if self._total is None else f" of {self._total}"
        speed = f", {counts.generated_tokens / seconds:.0f} tokens/s" if seconds else ""
        left = ""
        if self._total is not None and done:
            rest = seconds / done * (self._total - self._kept - done)
            left = f", about {clock_face(rest)} left"
        failed = f", {counted(counts.errors, 'error')}" if counts.errors else ""
        return f"{self._kept + done}{of} lines{failed}{speed}{left}"
