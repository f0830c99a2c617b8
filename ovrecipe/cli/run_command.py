"""`ovrecipe run`: one answer."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ovrecipe.cli.generation_options import (
    TARGET,
    Options,
    announce,
    console_of,
    default_target,
    frontend_of,
    opened,
    stdin,
    with_options,
)
from ovrecipe.cli.session import session_of
from ovrecipe.errors import PromptRefused, RecipeNotFound
from ovrecipe.recipe.sections import name_objection

if TYPE_CHECKING:
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Console, Frontend
    from ovrecipe.run.generation import Generation

#: What a shell shows for a program that SIGPIPE ended.
READER_LEFT = 141


@with_options
def command(
    ctx: typer.Context,
    target: Annotated[str | None, TARGET] = None,
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask; '-' or nothing reads it from stdin.")
    ] = None,
    *,
    options: Options,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON document.")
    ] = False,
) -> None:
    """Answer one prompt, streamed to stdout as it comes.

    Sampling, stop texts and filters are the recipe's unless an option says otherwise. Where a
    default model is configured, a question is enough.

    Example: ovrecipe run smollm2-135m:int4 "What is the capital of France?" --greedy

    From a pipe: git diff | ovrecipe run smollm2-135m --system "Sum up this change."
    """
    session = session_of(ctx)
    if as_json and options.frontend is not None:
        raise typer.BadParameter("is a form of its own; leave one out", param_hint="--json")
    console = console_of(options)
    single = target if prompt is None else None
    if single is not None and is_question(single):
        target, prompt = None, single
    if target is None:
        target = default_target(session)
        if prompt not in {None, "-"}:
            announce(f"asked: {prompt}")
    asked = read_prompt(prompt, stdin())
    try:
        frontend = frontend_of(session, target, options.frontend)
    except RecipeNotFound as error:
        hint = f"\nto ask {single!r}, name a recipe before it" if single == target else ""
        raise RecipeNotFound(error.message, remedy=f"{error.remedy}{hint}") from error
    with opened(session, target, options) as runner:
        answer = runner.stream(asked, system=options.system, **options.generation)
        show(answer, None if as_json else frontend, console)


def is_question(word: str) -> bool:
    """Return whether a lone argument can only be what to ask: no recipe has such a name."""
    return bool(name_objection(word.partition(":")[0])) or any(map(str.isspace, word))


def read_prompt(prompt: str | None, stdin: TextIO) -> str:
    """Return the prompt of the command line, or what stdin says.

    Raises:
        PromptRefused: it is blank, or not UTF-8.
    """
    from ovrecipe.run.prompt import checked_prompt

    if prompt is not None and prompt != "-":
        return checked_prompt(prompt)
    if prompt is None and stdin.isatty():
        raise typer.BadParameter("say what to ask, or pipe it in", param_hint="PROMPT")
    # Bytes: the text layer would let broken ones through as surrogates, or raise its own.
    data = stdin.buffer.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PromptRefused(
            f"stdin is not UTF-8: byte {exc.start + 1} is 0x{data[exc.start]:02x}",
            remedy="convert it first, for instance with: iconv -f LATIN1 -t UTF-8",
        ) from exc
    return checked_prompt(text.removesuffix("\n"))


def show(answer: Generation, frontend: Provided[Frontend] | None, console: Console) -> None:
    """Let the frontend show the answer, or print its result as JSON.

    Raises:
        typer.Exit: the reader of the pipe left; nothing is said about it, as unix tools do.
    """
    try:
        with answer:
            if frontend is None:
                for _ in answer:
                    pass
                typer.echo(json.dumps(answer.result.as_json(), indent=2))
            else:
                with frontend.blamed():
                    frontend.provider.show(answer, console)
    except BrokenPipeError:
        _forget_stdout(sys.stdout)
        raise typer.Exit(READER_LEFT) from None
    except KeyboardInterrupt:
        typer.echo()
        raise


def _forget_stdout(stdout: TextIO) -> None:
    """Send what is still buffered nowhere, or Python complains about the pipe at exit."""
    try:
        descriptor = stdout.fileno()
    except (io.UnsupportedOperation, ValueError):
        return
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
