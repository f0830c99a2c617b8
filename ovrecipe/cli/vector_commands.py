"""`ovrecipe embed` and `rerank`: a line in, a line out, in their order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import typer

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import announce, status
from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import PromptRefused
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName
from ovrecipe.wording import counted

if TYPE_CHECKING:
    from rich.status import Status

Target = Annotated[
    str,
    recipe_argument(
        "NAME[:VARIANT]", "What to ask; without a variant int4 if built, else the smallest built."
    ),
]
Device = Annotated[str | None, typer.Option(help="See 'ovrecipe devices'; CPU unless configured.")]
Unaccepted = Annotated[
    bool, typer.Option("--unaccepted", help="Open what a gate refused, for study.")
]
#: Lines that are read and answered at once, so that a file of any size goes through.
AT_ONCE = 64
#: A text of this many bytes is no line of a file of texts.
LONGEST_LINE = 16_000_000


class Line(NamedTuple):
    """A line of standard input: its text, and what else an object has, which is handed on."""

    text: str
    more: Mapping[str, Any]


def embed(
    ctx: typer.Context,
    target: Target,
    *,
    query: Annotated[
        bool, typer.Option("--query", help="The texts are queries, what is looked for.")
    ] = False,
    device: Device = None,
    unaccepted: Unaccepted = False,
) -> None:
    """Embed texts: a line in, a JSON line out, in their order.

    A line is a text; one that begins with '{' is a JSON object with a "text", whose other keys
    come out again. Texts are documents and get the recipe's instruction of such, or with --query
    that of queries.

    Example: echo "Paris is the capital of France." | ovrecipe embed bge-small
    """
    session = session_of(ctx)
    with _opened(session, target, EMBEDDING, device, unaccepted=unaccepted) as (model, shown):
        done = 0
        lines = read_lines(sys.stdin.buffer)
        while batch := list(islice(lines, AT_ONCE)):
            found = model.embed([line.text for line in batch], query=query)
            for line, embedding in zip(batch, found, strict=True):
                print_line({**line.more, "index": done, "embedding": embedding})
                done += 1
            sys.stdout.flush()
            shown.update(f"embedded {counted(done, 'text')}")
    announce(f"embedded {counted(done, 'text')}")


def rerank(
    ctx: typer.Context,
    target: Target,
    query: Annotated[str, typer.Argument(help="What the texts are to answer.")],
    *,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Print so many of the best only, the best first, with texts."),
    ] = None,
    device: Device = None,
    unaccepted: Unaccepted = False,
) -> None:
    """Score how well texts answer a query: a line in, a JSON line out, in their order.

    A line is a text; one that begins with '{' is a JSON object with a "text", whose other keys
    come out again. A score is from 0 to 1, and "rank" 1 is the best of all.

    Example: ovrecipe rerank my-reranker "capital of France" --top 3 < lines.txt
    """
    session = session_of(ctx)
    with _opened(session, target, RERANK, device, unaccepted=unaccepted) as (model, shown):
        lines = list(read_lines(sys.stdin.buffer))
        shown.update(f"scoring {counted(len(lines), 'text')}")
        ranked = model.rerank(query, [line.text for line in lines])
    found = [(one, rank) for rank, one in enumerate(ranked, start=1)]
    if top is None:
        found.sort(key=lambda each: each[0].index)
    for one, rank in found[:top]:
        line = lines[one.index]
        text = {} if top is None else {"text": line.text}
        own = {"index": one.index, "score": one.score, "rank": rank}
        print_line({**line.more, **own, **text})
    announce(f"scored {counted(len(lines), 'text')}")


@contextmanager
def _opened(
    session: Session, target: str, task: TaskName, device: str | None, *, unaccepted: bool
) -> Iterator[tuple[Any, Status]]:
    """Load a model of the task and show on a terminal that something is at work."""
    from ovrecipe.run.exported import export_folder
    from ovrecipe.run.load import load

    default = session.defaults.device
    device = device or (default.value if default else "CPU")
    load_it: Callable[..., Any] = load
    with status(f"loading {target} on {device}") as shown:
        model = load_it(
            target,
            device,
            # An export needs none.
            project=None if export_folder(target) is not None else session.project,
            plugins=session.plugins,
            announce=announce,
            unaccepted=unaccepted,
            task=task,
        )
        with model:
            if ":" not in target:
                announce(f"running {model.recipe.name}:{model.variant}")
            yield model, shown


def print_line(document: Mapping[str, Any]) -> None:
    """Print one JSON document on a line of its own."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a stream as they are asked for.

    Raises:
        PromptRefused: one is blank, too long, no UTF-8 or no object with a text; with its number.
    """
    for number, raw in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
        yield _line(raw, f"stdin, line {number}", is_first=number == 1)


def _line(raw: bytes, where: str, *, is_first: bool) -> Line:
    if len(raw) > LONGEST_LINE:
        raise PromptRefused(f"{where}: has more than {LONGEST_LINE:,} bytes; is it a text?")
    try:
        text = raw.decode("utf-8-sig" if is_first else "utf-8").strip("\r\n")
    except UnicodeDecodeError as exc:
        message = f"{where}: is not UTF-8: byte {exc.start + 1} is 0x{raw[exc.start]:02x}"
        raise PromptRefused(message, remedy="convert it first, as with iconv") from exc
    if not text.lstrip().startswith("{"):
        return Line(_not_blank(text, where), {})
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        remedy = 'a line that begins with \'{\' is JSON; write {"text": "{..."} for such a text'
        raise PromptRefused(f"{where}: is not JSON: {exc}", remedy=remedy) from exc
    said = found.pop("text", None)
    if not isinstance(said, str):
        raise PromptRefused(
            f'{where}: has no "text"', remedy='a line is {"text": "..."}, or a text'
        )
    return Line(_not_blank(said, where), found)


def _not_blank(text: str, where: str) -> str:
    from ovrecipe.run.prompt import check_prompt

    return check_prompt(text, f"{where}: the text")
