"""What `run` and `chat` share: their options, which model is meant, and how it is loaded."""

from __future__ import annotations

import functools
import inspect
import io
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, TextIO, get_type_hints

import typer
from typer import Option

from ovrecipe.cli.completion import complete_target
from ovrecipe.errors import RunError
from ovrecipe.recipe.project import split_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ovrecipe.cli.session import Session
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Console, Frontend
    from ovrecipe.run.runner import Runner


TARGET = typer.Argument(
    metavar="NAME[:VARIANT]",
    help="What to run; without a variant int4 if built, else the smallest built.",
    autocompletion=complete_target,
)


@dataclass(frozen=True)
class Options:
    """The options of `run` and `chat`, each as typer reads it."""

    device: Annotated[
        str | None, Option("--device", help="See 'ovrecipe devices'; CPU unless configured.")
    ] = None
    system: Annotated[
        str | None, Option("--system", help="System text, in place of the recipe's.")
    ] = None
    greedy: Annotated[bool, Option("--greedy", help="Take the likeliest token, no sampling.")] = (
        False
    )
    seed: Annotated[
        int | None, Option("--seed", help="Seed of the sampling (rng_seed); drawn if not given.")
    ] = None
    max_new_tokens: Annotated[
        int | None, Option("--max-new-tokens", help="Longest answer, in tokens.")
    ] = None
    temperature: Annotated[
        float | None, Option("--temperature", help="Higher is more random; 0 is --greedy.")
    ] = None
    top_p: Annotated[float | None, Option("--top-p", help="Above 0, up to 1.")] = None
    top_k: Annotated[int | None, Option("--top-k", help="0 switches it off.")] = None
    more: Annotated[
        list[str] | None,
        Option(
            "-g",
            "--generation",
            metavar="KEY=VALUE",
            help="Any other parameter of GenAI's GenerationConfig; VALUE is JSON or plain text.",
        ),
    ] = None
    frontend: Annotated[
        str | None,
        Option("--frontend", help="console, json, jsonl, quiet, or a plugin's."),
    ] = None
    stats: Annotated[bool, Option("--stats", help="One line of figures on stderr.")] = False

    @property
    def generation(self) -> dict[str, Any]:
        """The generation parameters that were given, named options over those of `-g`."""
        named = {
            "greedy": self.greedy or None,
            "rng_seed": self.seed,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
        }
        given = {name: value for name, value in named.items() if value is not None}
        return {**dict(_parameter(text) for text in self.more or ()), **given}


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="-g")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of `Options` as options; it gets them as one, `options`."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        own = {field.name: given.pop(field.name) for field in fields(Options)}
        command(**given, options=Options(**own))

    signature = inspect.signature(command, eval_str=True)
    hints = get_type_hints(Options, include_extras=True)
    parameters = [each for each in signature.parameters.values() if each.name != "options"]
    parameters += [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(Options)
    ]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    return called


def default_target(session: Session) -> str:
    """Return the configured model, and say on stderr which it is and who chose it.

    Raises:
        typer.BadParameter: there is none.
    """
    default = session.defaults.model
    if default is None:
        raise typer.BadParameter(
            "say which model, or set a default: OVRECIPE_MODEL=NAME, or model = 'NAME' in "
            "ovrecipe.toml",
            param_hint="NAME[:VARIANT]",
        )
    announce(f"the model is {default.value} ({default.where})")
    return default.value


def frontend_of(session: Session, target: str, name: str | None) -> Provided[Frontend]:
    """Return the frontend of that name; an unknown one is refused before a model is loaded."""
    recipe = session.recipe(split_target(target)[0])
    return session.plugins.provider("frontend", name or "console", recipe)


def console_of(options: Options) -> Console:
    """Return the streams of this process.

    Raises:
        RunError: standard output is closed.
    """
    from ovrecipe.hooks.roles import Console

    if sys.stdout is None:
        raise RunError(
            "standard output is closed, so nobody would see an answer",
            remedy=f"send it to a file, or to {os.devnull}",
        )
    return Console(out=sys.stdout, err=sys.stderr or io.StringIO(), stats=options.stats)


def stdin() -> TextIO:
    """Return standard input, or an empty one where it is closed."""
    return sys.stdin if sys.stdin is not None else io.TextIOWrapper(io.BytesIO())


def opened(session: Session, target: str, options: Options, *, warm_up: bool = False) -> Runner:
    """Load the model; says on stderr which variant was chosen where none was named."""
    from ovrecipe.run.load import load

    default = session.defaults.device
    device = options.device or (default.value if default else "CPU")
    with _status(f"loading {target} on {device}"):
        runner = load(
            target,
            device,
            project=session.project,
            plugins=session.plugins,
            warm_up=warm_up,
            announce=announce,
            generation=options.generation,
        )
    if ":" not in target:
        announce(f"running {runner.recipe.name}:{runner.variant}")
    return runner


def _status(text: str) -> AbstractContextManager[object]:
    """Return what shows on a terminal that something is at work; pipes see nothing of it."""
    if sys.stderr is None or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


def announce(message: str) -> None:
    """Say something that is no result."""
    typer.echo(f"ovrecipe: {message}", err=True)
