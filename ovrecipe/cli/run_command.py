"""`ovrecipe run`: one answer."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from ovrecipe.cli import generation_options as options
from ovrecipe.cli.session import Session, session_of
from ovrecipe.errors import PromptRefused

if TYPE_CHECKING:
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Frontend
    from ovrecipe.run.generation import Generation
    from ovrecipe.run.runner import Runner

#: What a shell shows for a program that SIGPIPE ended.
READER_LEFT = 141


def command(
    ctx: typer.Context,
    target: options.Target,
    instruction: Annotated[
        str | None, typer.Argument(help="What to ask; '-' or nothing reads it from stdin.")
    ] = None,
    *,
    device: options.DeviceName = "CPU",
    system: options.System = None,
    greedy: options.Greedy = False,
    seed: options.Seed = None,
    max_new_tokens: options.MaxNewTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    top_k: options.TopK = None,
    more: options.More = None,
    frontend: options.FrontendName = "console",
    stats: options.Stats = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON document.")
    ] = False,
) -> None:
    """Answer one instruction, streamed to stdout as it comes.

    Sampling, stop texts and filters are the recipe's unless an option says otherwise.

    Example: ovrecipe run smollm2-135m:int4 "What is the capital of France?" --greedy

    From a pipe: git diff | ovrecipe run smollm2-135m --system "Sum up this change."
    """
    session = session_of(ctx)
    asked = read_instruction(instruction, sys.stdin)
    generation = options.generation_of(
        more,
        greedy=greedy,
        rng_seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
    )
    if as_json and frontend != "console":
        raise typer.BadParameter(
            "stands beside --frontend; keep one of the two", param_hint="--json"
        )
    shown_by = None if as_json else frontend_of(session, target, frontend)
    with opened(session, target, device=device) as runner:
        answer = runner.stream(asked, system=system, **generation)
        show(answer, shown_by, stats=stats)


def read_instruction(instruction: str | None, stdin: TextIO) -> str:
    """Return the instruction of the command line, or what stdin says.

    Raises:
        PromptRefused: it is blank, or not UTF-8.
    """
    from ovrecipe.run.prompt import checked_instruction

    if instruction is not None and instruction != "-":
        return checked_instruction(instruction)
    if instruction is None and stdin.isatty():
        raise typer.BadParameter("say what to ask, or pipe it in", param_hint="INSTRUCTION")
    return checked_instruction(_decoded(stdin).removesuffix("\n"))


def _decoded(stdin: TextIO) -> str:
    """Read bytes: the text layer would let broken ones through as surrogates, or raise its own."""
    data = stdin.buffer.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise PromptRefused(
            f"stdin is not UTF-8: byte {exc.start + 1} is 0x{data[exc.start]:02x}",
            remedy="convert it first, for instance with: iconv -f LATIN1 -t UTF-8",
        ) from exc


def frontend_of(session: Session, target: str, name: str) -> Provided[Frontend]:
    """Return the frontend of that name; an unknown one is refused before a model is loaded."""
    from ovrecipe.recipe.project import split_target

    recipe = session.recipe(split_target(target)[0])
    return session.plugins.provider("frontend", name, recipe)


def opened(session: Session, target: str, *, device: str, warm_up: bool = False) -> Runner:
    """Load the model; says on stderr which variant was chosen where none was named."""
    from ovrecipe.run.load import load

    runner = load(
        target,
        device,
        project=session.project,
        plugins=session.plugins,
        warm_up=warm_up,
        announce=announce,
    )
    if ":" not in target:
        announce(f"running {runner.recipe.name}:{runner.variant}")
    return runner


def announce(message: str) -> None:
    """Say something that is no result."""
    typer.echo(f"ovrecipe: {message}", err=True)


def show(answer: Generation, frontend: Provided[Frontend] | None, *, stats: bool) -> None:
    """Let the frontend show the answer, or print its result as JSON.

    Raises:
        typer.Exit: the reader of the pipe left; nothing is said about it, as unix tools do.
    """
    from ovrecipe.hooks.roles import Console

    try:
        with answer:
            if frontend is None:
                print_json(answer)
            else:
                console = Console(out=sys.stdout, err=sys.stderr, stats=stats)
                with frontend.blamed():
                    frontend.provider.show(answer, console)
    except BrokenPipeError:
        _forget_stdout(sys.stdout)
        raise typer.Exit(READER_LEFT) from None
    except KeyboardInterrupt:
        typer.echo()
        raise


def print_json(answer: Generation) -> None:
    """Print the result of an answer as one JSON document."""
    for _ in answer:
        pass
    typer.echo(json.dumps(answer.result.as_json(), indent=2))


def _forget_stdout(stdout: TextIO) -> None:
    """Send what is still buffered nowhere, or Python complains about the pipe at exit."""
    try:
        descriptor = stdout.fileno()
    except (io.UnsupportedOperation, ValueError):
        return
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
