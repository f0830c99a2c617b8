"""`ovrecipe run` and `devices`: one answer, and where a model can run."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer

from ovrecipe.cli.generation_options import (
    MaybeTarget,
    Options,
    check_whole,
    default_target,
    with_options,
)
from ovrecipe.cli.output import AsJson, announce, print_json, print_table
from ovrecipe.cli.session import session_of
from ovrecipe.errors import PromptRefused, RecipeNotFound
from ovrecipe.recipe.project import name_objection


@with_options
def command(
    ctx: typer.Context,
    target: MaybeTarget = None,
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask; '-' or nothing reads it from stdin.")
    ] = None,
    *,
    options: Options,
    as_json: AsJson = False,
) -> None:
    """Answer one prompt, streamed to stdout as it comes.

    Sampling, stop texts and filters are the recipe's unless an option says otherwise. Where a
    default model is configured, a question is enough.

    Example: ovrecipe run smollm2-135m:int4 "What is the capital of France?" --greedy

    In a form: ovrecipe run smollm2-135m "Describe Ada." --schema person.json

    From a pipe: git diff | ovrecipe run smollm2-135m --system "Sum up this change."

    What 'ovrecipe export' wrote is opened by its folder: ovrecipe run ./out "Hello."
    """
    session = session_of(ctx)
    if as_json and options.frontend is not None:
        raise typer.BadParameter("is a form of its own; leave one out", param_hint="--json")
    options = options._replace(frontend="json" if as_json else options.frontend)
    single = target if prompt is None else None
    if single is not None and is_question(single):
        target, prompt = None, single
    if target is None:
        target = default_target(session)
        if prompt not in {None, "-"}:
            announce(f"asked: {prompt}")
    try:
        shown_by = options.frontend_of(session, target)
    except RecipeNotFound as error:
        may_be_asked = single == target and ":" not in target
        hint = f"\nto ask {single!r}, name a recipe before it" if may_be_asked else ""
        raise RecipeNotFound(error.message, remedy=f"{error.remedy}{hint}") from error
    asked = read_prompt(prompt, sys.stdin)
    with options.opened(session, target) as runner:
        answer = runner.stream(asked, system=options.system, **options.generation)
        try:
            with answer, shown_by.blamed():
                shown_by.provider.show(answer, options.console)
        except KeyboardInterrupt:
            typer.echo()
            raise
        check_whole(answer.result)


def is_question(word: str) -> bool:
    """Return whether a lone argument can only be what to ask: no recipe has such a name."""
    if any(map(str.isspace, word)):
        return True
    is_folder = word.startswith(("./", "../", "/", "~/", ".\\", "..\\")) or (
        not {"/", "\\"}.isdisjoint(word) and Path(word).is_dir()
    )
    return bool(name_objection(word.partition(":")[0])) and not is_folder


def read_prompt(prompt: str | None, stdin: TextIO) -> str:
    """Return the prompt of the command line, or what stdin says.

    Raises:
        PromptRefused: it is blank, or not UTF-8.
    """
    from ovrecipe.run.prompt import check_prompt

    if prompt is not None and prompt != "-":
        return check_prompt(prompt)
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
    return check_prompt(text.removesuffix("\n"))


def devices(*, as_json: AsJson = False) -> None:
    """List the devices that OpenVINO sees here, for --device of 'run' and 'chat'.

    A GPU or NPU that is missing from the list mostly lacks its driver. AUTO lets OpenVINO
    choose; HETERO:GPU,CPU uses several for one model.

    Example: ovrecipe devices
    """
    from ovrecipe.run.genai import list_devices

    found = list_devices()
    if as_json:
        print_json([asdict(device) for device in found])
        return
    rows = [(device.name, device.full_name, ", ".join(device.capabilities)) for device in found]
    print_table(("device", "name", "supports"), rows)
