"""`ovrecipe models`: the architectures, what each needs, and what came of trying it."""

from __future__ import annotations

from typing import Annotated

import typer

from ovrecipe.builtin.architectures import RESULTS, Architecture, architectures
from ovrecipe.cli.output import AsJson, print_json, print_table
from ovrecipe.wording import perhaps


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Architectures, or beginnings of their names."),
    ] = None,
    *,
    result: Annotated[
        str | None, typer.Option(help=f"Only those with this result: {', '.join(RESULTS)}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List architectures (`model_type` in a checkpoint's config.json), and how each was tried.

    Of each a tiny random checkpoint went the whole route: fp16, int8 and int4 with their gates, and
    12 greedy tokens behind each of four texts, compared with torch. A name with a '+' is a kind of
    an architecture. An architecture that is not listed may still work: its build says.

    Examples: 'ovrecipe models', 'ovrecipe models gemma', 'ovrecipe models --result refused'.
    """
    if result is not None and result not in RESULTS:
        known = f"{perhaps(result, RESULTS)}; there are {', '.join(RESULTS)}"
        raise typer.BadParameter(f"there is no result {result!r}{known}", param_hint="--result")
    found = [one for one in _named(names or []) if result in (None, one.result)]
    if as_json:
        print_json({"architectures": [one.as_json() for one in found]})
        return
    headings = ("architecture", "transformers", "attention", "GGUF", "result", "tried with")
    print_table(headings, map(_cells, found))
    if names:
        typer.echo("".join(f"\n{line}\n" for one in found for line in _details(one)), nl=False)


def _named(names: list[str]) -> list[Architecture]:
    """Return the architectures whose names begin with one of `names`; all without any."""
    known = architectures()
    chosen = {one.name: one for one in known} if not names else {}
    for name in names:
        found = {one.name: one for one in known if one.name.startswith(name)}
        if not found:
            hint = perhaps(name, [one.name for one in known]) or "; 'ovrecipe models' lists all"
            raise typer.BadParameter(f"no architecture is called {name!r}{hint}", param_hint="NAME")
        chosen |= found
    return list(chosen.values())


def _cells(one: Architecture) -> tuple[str, ...]:
    gguf = "yes" if one.gguf else ""
    return one.name, one.transformers, one.backend or "", gguf, one.result, one.tried


def _details(one: Architecture) -> list[str]:
    """Return what does not fit into the table: greedy tokens, and why it is not as it should be."""
    said = [RESULTS[one.result]]
    if one.tokens:
        said.append(f"{one.tokens} greedy tokens are those of torch")
    if one.paged_attention:
        said.append(f"not with paged attention: {one.paged_attention}")
    if one.cause:
        said.append(one.cause)
    return [f"{one.name}: {'; '.join(said)}"]
