"""The options that `tune` and `sweep` share: lists of values for the knobs of a compression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer import Option

TRUTH = {"true": True, "false": False}

GroupSizes = Annotated[str | None, Option("--group-size", help="Group sizes, as 32,64,-1.")]
Ratios = Annotated[str | None, Option("--ratio", help="Shares of INT4, as 0.8,1.0.")]
Syms = Annotated[str | None, Option("--sym", help="true,false, or one of them.")]
Awqs = Annotated[str | None, Option("--awq", help="true,false, or one of them.")]
Scales = Annotated[
    str | None, Option("--scale-estimation", help="true,false; needs the variant's dataset.")
]
Budgets = Annotated[
    str | None,
    Option("--bits-per-weight", help="Budgets of ovrecipe-budget, as 4.5,5; with the plugin."),
]
Jobs = Annotated[int, Option("--jobs", "-n", min=1, help="Stages at work at once.")]
Force = Annotated[bool, Option("--force", help="Judge neither memory nor disk.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No progress: only the result.")]
DryRun = Annotated[bool, Option("--dry-run", help="List the settings, and measure nothing.")]


def lists_of(
    group_size: str | None,
    ratio: str | None,
    sym: str | None,
    awq: str | None,
    scale_estimation: str | None,
    bits_per_weight: str | None,
) -> dict[str, Any]:
    """Return the lists of the command line.

    Raises:
        BadParameter: a value is none of its kind.
    """
    lists: dict[str, tuple[str | None, Callable[[str], Any], str]] = {
        "group_size": (group_size, int, "whole numbers"),
        "ratio": (ratio, float, "numbers"),
        "sym": (sym, TRUTH.__getitem__, "true and false"),
        "awq": (awq, TRUTH.__getitem__, "true and false"),
        "scale_estimation": (scale_estimation, TRUTH.__getitem__, "true and false"),
        "bits_per_weight": (bits_per_weight, float, "numbers"),
    }
    found: dict[str, Any] = {}
    for name, (text, kind, kinds) in lists.items():
        if text is not None:
            try:
                found[name] = tuple(kind(word.strip()) for word in text.split(","))
            except (ValueError, KeyError) as error:
                option = "--" + name.replace("_", "-")
                raise typer.BadParameter(
                    f"{option} takes {kinds} with commas, got {text!r}"
                ) from error
            _check_values(name, found[name])
    return found


def _check_values(name: str, values: Sequence[Any]) -> None:
    """Refuse what no recipe may say."""
    from pydantic import ValidationError

    from ovrecipe.recipe.compression import CompressionPass
    from ovrecipe.recipe.problems import problems_of

    for value in values if name in CompressionPass.model_fields else ():
        try:
            CompressionPass.model_validate({name: value})
        except ValidationError as error:
            [problem] = problems_of(error, model=CompressionPass)
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{option}: {problem.reason}") from error
