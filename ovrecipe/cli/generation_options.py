"""The options about generation that `run` and `chat` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovrecipe.cli.completion import complete_target

if TYPE_CHECKING:
    from collections.abc import Sequence

Target = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VARIANT]",
        help="What to run; without a variant int4 if built, else the smallest built.",
        autocompletion=complete_target,
    ),
]
DeviceName = Annotated[str, typer.Option("--device", help="See 'ovrecipe devices'.")]
System = Annotated[str | None, typer.Option("--system", help="System text, for the recipe's.")]
Greedy = Annotated[bool, typer.Option("--greedy", help="Take the likeliest token, no sampling.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of the sampling (rng_seed).")]
MaxNewTokens = Annotated[
    int | None, typer.Option("--max-new-tokens", help="Longest answer, in tokens.")
]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Above 0.")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Above 0, up to 1.")]
TopK = Annotated[int | None, typer.Option("--top-k", help="0 switches it off.")]
More = Annotated[
    list[str] | None,
    typer.Option(
        "-g",
        "--generation",
        metavar="KEY=VALUE",
        help="Any other parameter of GenAI's GenerationConfig; VALUE is JSON or plain text.",
    ),
]
FrontendName = Annotated[
    str, typer.Option("--frontend", help="console, jsonl, quiet, or a plugin's.")
]
Stats = Annotated[bool, typer.Option("--stats", help="One line of figures on stderr.")]


def generation_of(more: Sequence[str] | None, **named: Any) -> dict[str, Any]:
    """Return the parameters that were given, named options over those of `-g`."""
    given = {
        name: value for name, value in named.items() if value is not None and value is not False
    }
    return {**dict(_parameter(each) for each in more or ()), **given}


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="-g")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
